// The vocabulary on the host (device/vocabulary.h): each word goes through the emulated multiprocessor, which checks and counts it.
#pragma once

#include <cstring>

#include "cuda/device/types.h"
#include "cuda/emulation/machine.h"

namespace asdm::cuda {

// A queue of the emulated card: launches run at once.
struct Stream {
  emulation::Machine* machine = &emulation::machine();
};

template <class Kernel>
void launch(Stream& stream, const Grid& grid, uint32_t sharedBytes, const typename Kernel::Params& params) {
  static_assert(sizeof(typename Kernel::Params) <= 4096, "a launch carries at most 4 KB");
  stream.machine->run({Kernel::kName, grid, Kernel::kThreads, sharedBytes,
                       [](const void* p) { Kernel::run(*static_cast<const typename Kernel::Params*>(p)); }, &params});
}

inline int thread() { return emulation::machine().threadIndex(); }
inline int lane() { return thread() % 32; }
inline int warp() { return thread() / 32; }
inline Index3 block() { return emulation::machine().blockIndex(); }

template <class T>
inline T load(const T* p, int site = __builtin_LINE()) {
  T value;
  emulation::machine().read(p, sizeof(T), site, &value);
  return value;
}
template <class T>
inline void store(T* p, T value, int site = __builtin_LINE()) {
  emulation::machine().write(p, sizeof(T), site, &value);
}
template <class T>
inline T sharedLoad(uint32_t at, int site = __builtin_LINE()) {
  T value;
  emulation::machine().sharedRead(at, sizeof(T), site, &value);
  return value;
}
template <class T>
inline void sharedStore(uint32_t at, T value, int site = __builtin_LINE()) {
  emulation::machine().sharedWrite(at, sizeof(T), site, &value);
}
inline void copyAsync(uint32_t at, const void* from, bool whole, int site = __builtin_LINE()) {
  emulation::machine().copyAsync(at, from, whole, site);
}
inline void copyCommit() { emulation::machine().copyCommit(); }
template <int N>
inline void copyWait() {
  emulation::machine().copyWait(N);
}
inline void barrier(int site = __builtin_LINE()) { emulation::machine().barrier(site); }
inline void warpSync(int site = __builtin_LINE()) { emulation::machine().together(emulation::Together::WarpSync, site); }

template <class T>
inline T shuffle(T value, int from, int site = __builtin_LINE()) {
  static_assert(sizeof(T) == 4, "a shuffle moves a word");
  emulation::Exchange& e = emulation::machine().exchange();
  std::memcpy(&e.a[0], &value, 4);
  e.from = from;
  emulation::machine().together(emulation::Together::Shuffle, site);
  T result;
  std::memcpy(&result, &e.d[0], 4);
  return result;
}
template <class T>
inline T shuffleXor(T value, int mask, int site = __builtin_LINE()) {
  return shuffle(value, lane() ^ mask, site);
}
inline bool any(bool condition, int site = __builtin_LINE()) {
  emulation::Exchange& e = emulation::machine().exchange();
  e.a[0] = condition ? 1 : 0;
  emulation::machine().together(emulation::Together::Any, site);
  return e.d[0] != 0;
}

inline void loadMatrix(uint32_t (&r)[4], uint32_t at, int site = __builtin_LINE()) {
  emulation::Exchange& e = emulation::machine().exchange();
  e.a[0] = at;
  emulation::machine().together(emulation::Together::LoadMatrix, site);
  std::memcpy(r, e.d, sizeof r);
}
inline void loadMatrixTransposed(uint32_t (&r)[4], uint32_t at, int site = __builtin_LINE()) {
  emulation::Exchange& e = emulation::machine().exchange();
  e.a[0] = at;
  emulation::machine().together(emulation::Together::LoadMatrixTransposed, site);
  std::memcpy(r, e.d, sizeof r);
}

namespace emulation {
template <class T>
inline void multiply(Together what, T (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, int site) {
  Exchange& e = machine().exchange();
  std::memcpy(e.a, a, sizeof e.a);
  e.b[0] = b0;
  e.b[1] = b1;
  std::memcpy(e.d, d, sizeof e.d);
  machine().together(what, site);
  std::memcpy(d, e.d, sizeof e.d);
}
}  // namespace emulation

inline void mma(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, int site = __builtin_LINE()) {
  emulation::multiply(emulation::Together::Mma, d, a, b0, b1, site);
}
inline void mmaBytes(int32_t (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, int site = __builtin_LINE()) {
  emulation::multiply(emulation::Together::MmaBytes, d, a, b0, b1, site);
}
inline int32_t dotBytes(uint32_t a, uint32_t b, int32_t c) {
  for (int i = 0; i < 4; i++) c += static_cast<int32_t>(static_cast<uint8_t>(a >> 8 * i)) * static_cast<int8_t>(b >> 8 * i);
  return c;
}

}  // namespace asdm::cuda
