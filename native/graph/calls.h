// From a step to its arguments' type and its kernel, by the table of ops (ops/ops.def).
#pragma once

#include <type_traits>
#include <variant>

#include "backend/kernels.h"
#include "ops/op.h"

namespace asdm {

// A variant of the given types, each once.
template <class Variant, class... Rest>
struct EachOnce {
  using Type = Variant;
};
template <class... Kept, class Next, class... Rest>
struct EachOnce<std::variant<Kept...>, Next, Rest...> {
  static constexpr bool kKnown = (std::is_same_v<Kept, Next> || ...);
  using Type = typename EachOnce<std::conditional_t<kKnown, std::variant<Kept...>, std::variant<Kept..., Next>>, Rest...>::Type;
};

#define ASDM_OP(name, fewest, most, overwrites, low, arithmetic, args, kernel) , args
using StepArgs = EachOnce<std::variant<LayoutArgs>
#include "ops/ops.def"
                          >::Type;

// visit(the op as a type, its arguments, its entry of the table). Step: StepArgs, const or not.
template <Op op>
using OpConstant = std::integral_constant<Op, op>;
template <class Step, class Visit>
auto withKernel(const KernelTable& table, Op op, Step& step, const Visit& visit) {
  switch (op) {
#define ASDM_OP(name, fewest, most, overwrites, low, arithmetic, args, kernel) \
  case Op::name: return visit(OpConstant<Op::name>(), *std::get_if<args>(&step), table.kernel);
#include "ops/ops.def"
  }
  return visit(OpConstant<Op::ToChannelsLast>(), *std::get_if<LayoutArgs>(&step), table.toChannelsLast);
}

// visit(the op as a type).
template <class Visit>
auto withOp(Op op, const Visit& visit) {
  switch (op) {
#define ASDM_OP(name, ...) \
  case Op::name: return visit(OpConstant<Op::name>());
#include "ops/ops.def"
  }
  return visit(OpConstant<Op::Input>());
}

}  // namespace asdm
