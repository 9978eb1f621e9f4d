#include "cuda/emulation/shadow.h"

namespace asdm::cuda::emulation {

namespace {
constexpr size_t kGranule = 2;
}

void GlobalShadow::begin(const std::vector<Span>& spans) {
  launch_++;
  spans_.resize(spans.size());
  sizes_.clear();
  for (const Span& span : spans) sizes_.push_back((span.bytes + kGranule) / kGranule + 1);
}

// Made when it is first needed: many spans are larger than what is touched of them.
GlobalShadow::Granule* GlobalShadow::granules(size_t span) {
  if (spans_[span].size() < sizes_[span]) spans_[span].resize(sizes_[span]);
  return spans_[span].data();
}

bool GlobalShadow::read(size_t span, size_t at, size_t bytes, const Toucher& who) {
  Granule* const all = granules(span);
  const auto block = static_cast<uint32_t>(who.block);
  const auto thread = static_cast<uint32_t>(who.thread);
  for (size_t i = at / kGranule; i <= (at + bytes - 1) / kGranule; i++) {
    const Mark& w = all[i].written;
    if (w.launch == launch_ && (w.block != block || (w.barriers == who.barriers && w.thread != thread))) return true;
    Mark& r = all[i].read;
    if (r.launch != launch_) r = {launch_, block, who.barriers, thread};
    else if (r.block != block) r.block = kManyBlocks;
    else if (r.barriers != who.barriers) r = {launch_, block, who.barriers, thread};
    else if (r.thread != thread) r.thread = kManyThreads;
  }
  return false;
}

bool GlobalShadow::write(size_t span, size_t at, size_t bytes, const Toucher& who) {
  Granule* const all = granules(span);
  const auto block = static_cast<uint32_t>(who.block);
  const auto thread = static_cast<uint32_t>(who.thread);
  for (size_t i = at / kGranule; i <= (at + bytes - 1) / kGranule; i++) {
    Mark& w = all[i].written;
    for (const Mark* m : {&w, &all[i].read})
      if (m->launch == launch_ && (m->block != block || (m->barriers == who.barriers && m->thread != thread))) return true;
    w = {launch_, block, who.barriers, thread};
  }
  return false;
}

void SharedShadow::begin(size_t bytes) { granules_.assign((bytes + kGranule - 1) / kGranule, Granule()); }

// Does a barrier, or the warp's own synchronisation, lie between?
bool SharedShadow::ordered(const Mark& m, const Toucher& who) {
  if (m.thread == kNobody || m.barriers != who.barriers || m.thread == who.thread) return true;
  return m.thread != kMany && m.warp == who.thread / 32 && m.warpSyncs != who.warpSyncs;
}

SharedShadow::Verdict SharedShadow::read(size_t at, size_t bytes, const Toucher& who) {
  for (size_t i = at / kGranule; i <= (at + bytes - 1) / kGranule; i++) {
    Granule& g = granules_[i];
    if (g.pending) return Verdict::Pending;
    if (g.written.thread == kNobody) return Verdict::Unwritten;
    if (!ordered(g.written, who)) return Verdict::Race;
    Mark& r = g.read;
    if (r.thread == kNobody || r.barriers != who.barriers) r = {who.thread, who.thread / 32, who.barriers, who.warpSyncs};
    else if (r.thread == kMany || r.warp != who.thread / 32) r.thread = kMany;
    else if (r.warpSyncs != who.warpSyncs) r = {who.thread, r.warp, who.barriers, who.warpSyncs};
    else if (r.thread != who.thread) r.thread = kManyOfWarp;
  }
  return Verdict::Fine;
}

SharedShadow::Verdict SharedShadow::write(size_t at, size_t bytes, const Toucher& who) {
  for (size_t i = at / kGranule; i <= (at + bytes - 1) / kGranule; i++) {
    Granule& g = granules_[i];
    if (g.pending) return Verdict::Pending;
    if (!ordered(g.written, who) || !ordered(g.read, who)) return Verdict::Race;
    g.written = {who.thread, who.thread / 32, who.barriers, who.warpSyncs};
  }
  return Verdict::Fine;
}

SharedShadow::Verdict SharedShadow::depart(size_t at, size_t bytes, const Toucher& who) {
  const Verdict verdict = write(at, bytes, who);
  if (verdict == Verdict::Fine)
    for (size_t i = at / kGranule; i <= (at + bytes - 1) / kGranule; i++) granules_[i].pending = true;
  return verdict;
}

SharedShadow::Verdict SharedShadow::arrive(size_t at, size_t bytes, const Toucher& who) {
  for (size_t i = at / kGranule; i <= (at + bytes - 1) / kGranule; i++) granules_[i].pending = false;
  return write(at, bytes, who);
}

}  // namespace asdm::cuda::emulation
