// Every pointer of every op's arguments, for devices whose addresses are not the host's.
#pragma once

#include "backend/kernels.h"

namespace asdm::testing {

// Calls each(pointer) with a reference to every one that points into the device's memory, null ones too.
template <class Each>
struct Pointers {
  const Each& each;

  void of(LinearArgs& a) const { all(a.x, a.weight, a.bias, a.residual, a.y, a.residualLow, a.yLow, a.xLow); }
  void of(ConvArgs& a) const { all(a.x, a.weight, a.bias, a.rowBias, a.residual, a.y, a.residualLow, a.yLow, a.xLow); }
  void of(CondConvArgs& a) const {
    of(a.conv);
    all(a.routerWeight, a.routerBias);
  }
  void of(GroupNormArgs& a) const { all(a.x, a.gamma, a.beta, a.y, a.xLow); }
  void of(LayerNormArgs& a) const { all(a.x, a.gamma, a.beta, a.y, a.xLow); }
  void of(AttentionArgs& a) const { all(a.q, a.k, a.v, a.o); }
  void of(GegluArgs& a) const { all(a.x, a.y); }
  void of(ActivationArgs& a) const { all(a.x, a.y); }
  void of(AddArgs& a) const { all(a.a, a.b, a.y, a.aLow, a.bLow, a.yLow); }
  void of(ConcatArgs& a) const { all(a.a, a.b, a.y, a.aLow, a.bLow, a.yLow); }
  void of(EmbedArgs& a) const { all(a.ids, a.token, a.position, a.y); }
  void of(TimestepArgs& a) const { all(a.t, a.y); }
  void of(LayoutArgs& a) const { all(a.x, a.y, a.yLow); }
  void of(LineArgs& a) const { all(a.last, a.before, a.y, a.lastLow, a.beforeLow, a.yLow); }
  void of(ChangeArgs& a) const { all(a.now, a.before, a.sums); }
  void of(CopyArgs& a) const { all(a.x, a.y); }

  void of(LinearInputGradientArgs& a) const { all(a.dy, a.weight, a.dx); }
  void of(LinearWeightGradientArgs& a) const { all(a.x, a.dy, a.dWeight, a.dBias); }
  void of(ConvInputGradientArgs& a) const {
    of(a.forward);
    all(a.dy, a.dx);
  }
  void of(ConvWeightGradientArgs& a) const {
    of(a.forward);
    all(a.dy, a.dWeight, a.dBias);
  }
  void of(CondConvGradientArgs& a) const {
    of(a.forward);
    all(a.dy, a.dx, a.dWeight, a.dBias, a.dRouterWeight, a.dRouterBias);
  }
  void of(GroupNormGradientArgs& a) const { ofNorm(a); }
  void of(LayerNormGradientArgs& a) const { ofNorm(a); }
  void of(AttentionGradientArgs& a) const {
    of(a.forward);
    all(a.o, a.dy, a.dq, a.dk, a.dv);
  }
  void of(GegluGradientArgs& a) const { all(a.x, a.dy, a.dx); }
  void of(ActivationGradientArgs& a) const { all(a.x, a.dy, a.dx); }
  void of(SliceArgs& a) const { all(a.x, a.y); }
  void of(SumRowsArgs& a) const { all(a.x, a.y); }
  void of(LossArgs& a) const { all(a.prediction, a.target, a.y); }
  void of(LossGradientArgs& a) const {
    of(a.forward);
    all(a.weight, a.dx);
  }
  void of(AdamWArgs& a) const { all(a.weight, a.gradient, a.first, a.second); }
  void of(AverageArgs& a) const { all(a.average, a.weight); }
  void of(SquaresArgs& a) const { all(a.x, a.sum); }

 private:
  template <class Args>
  void ofNorm(Args& a) const {
    of(a.forward);
    all(a.dy, a.dx, a.dGamma, a.dBeta);
  }
  template <class... P>
  void all(P&... pointers) const {
    (each(pointers), ...);
  }
};

}  // namespace asdm::testing
