#include "cuda/emulation/fibre.h"

#include <cstdint>
#include <cstring>

namespace asdm::cuda::emulation {

#if defined(__x86_64__) && defined(__linux__)

// Saves what a called function must keep (System V ABI, 3.2.1) on the old stack, and takes it from the new one. Some nanoseconds, where
// swapcontext asks the kernel for the signal mask.
extern "C" void asdmSwapStacks(void** from, void* to);
extern "C" void asdmBeginFibre();
asm(R"(
.text
.globl asdmSwapStacks
.hidden asdmSwapStacks
.type asdmSwapStacks, @function
asdmSwapStacks:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size asdmSwapStacks, .-asdmSwapStacks
.globl asdmBeginFibre
.hidden asdmBeginFibre
.type asdmBeginFibre, @function
asdmBeginFibre:
  movq %r12, %rdi
  callq *%rbx
  ud2
.size asdmBeginFibre, .-asdmBeginFibre
)");

void Fibre::prepare(unsigned char* stack, void (*body)(void*), void* context) {
  // As asdmSwapStacks left it: six registers, and the address to return to. The stack is a multiple of 16 where asdmBeginFibre calls.
  auto** top = reinterpret_cast<void**>(stack + kStackBytes - 64);
  std::memset(top - 7, 0, 7 * sizeof(void*));
  top[-1] = reinterpret_cast<void*>(&asdmBeginFibre);
  top[-3] = reinterpret_cast<void*>(body);  // rbx
  top[-4] = context;                        // r12
  inside_ = top - 7;
}

void Fibre::enter() { asdmSwapStacks(&outside_, inside_); }
void Fibre::leave() { asdmSwapStacks(&inside_, outside_); }

#else

void Fibre::begin(unsigned high, unsigned low) {
  auto* const self = reinterpret_cast<Fibre*>(static_cast<uintptr_t>(high) << 32 | low);
  self->body_(self->context_);
}

void Fibre::prepare(unsigned char* stack, void (*body)(void*), void* context) {
  body_ = body;
  context_ = context;
  getcontext(&inside_);
  inside_.uc_stack.ss_sp = stack;
  inside_.uc_stack.ss_size = kStackBytes;
  inside_.uc_link = nullptr;
  const auto address = reinterpret_cast<uintptr_t>(this);
  makecontext(&inside_, reinterpret_cast<void (*)()>(&Fibre::begin), 2, static_cast<unsigned>(static_cast<uint64_t>(address) >> 32),
              static_cast<unsigned>(address));
}

void Fibre::enter() { swapcontext(&outside_, &inside_); }
void Fibre::leave() { swapcontext(&inside_, &outside_); }

#endif

}  // namespace asdm::cuda::emulation
