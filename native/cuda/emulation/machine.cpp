#include "cuda/emulation/machine.h"

#include <algorithm>
#include <cstring>

namespace asdm::cuda::emulation {

namespace {

constexpr int kLanes = 32;
constexpr int kMostThreads = 1024;
constexpr unsigned char kCanary = 0xc3;
constexpr size_t kCanaryBytes = 256;
// Between stacks, so that one which overflows a little leaves its neighbour's alone until that is found.
constexpr size_t kStackMargin = 4096;
constexpr size_t kStackDistance = Fibre::kStackBytes + kStackMargin;
constexpr unsigned char kPoison = 0xff;  // NaN, as a float and as bfloat16

const char* nameOf(Together what) {
  switch (what) {
    case Together::WarpSync: return "warpSync";
    case Together::Shuffle: return "shuffle";
    case Together::Any: return "any";
    case Together::LoadMatrix:
    case Together::LoadMatrixTransposed: return "loadMatrix";
    case Together::Mma:
    case Together::MmaBytes: return "mma";
    case Together::None: break;
  }
  return "nothing";
}

}  // namespace

Machine& machine() {
  thread_local Machine instance;
  return instance;
}

uint64_t Machine::random() {  // xorshift64*, Vigna 2016
  random_ ^= random_ >> 12;
  random_ ^= random_ << 25;
  random_ ^= random_ >> 27;
  return random_ * 2685821657736338717ull;
}

void Machine::setMemory(std::vector<Span> spans) {
  spans_ = std::move(spans);
  lastSpan_ = 0;
}

std::string Machine::takeFault() {
  std::string fault;
  fault.swap(fault_);
  return fault;
}

std::string Machine::where() const {
  std::string text = std::string(" in ") + launch_->name + ", block " + std::to_string(block_.x) + "," + std::to_string(block_.y) + "," +
                     std::to_string(block_.z);
  if (current_ != nullptr) text += ", thread " + std::to_string(current_->index);
  return text;
}

void Machine::begin(void* lane) {
  (void)lane;
  Machine& m = machine();
  m.launch_->body(m.launch_->params);
  if (!m.current_->copies.empty()) m.fail("copyAsync without a copyWait before the kernel's end");
  m.leaveForGood();
}

void Machine::leaveForGood() {
  current_->state = State::Done;
  current_->fibre.leave();
  __builtin_unreachable();
}

void Machine::fail(const std::string& what) {
  if (fault_.empty()) fault_ = what + where();
  leaveForGood();
}

void Machine::stop(State state, int site) {
  current_->state = state;
  current_->site = site;
  current_->fibre.leave();
}

void Machine::run(const Launch& launch) {
  if (faulty()) return;
  launch_ = &launch;
  current_ = nullptr;
  block_ = {0, 0, 0};
  if (launch.threads % kLanes != 0 || launch.threads < kLanes || launch.threads > kMostThreads || launch.sharedBytes > options.mostShared ||
      launch.grid.x < 1 || launch.grid.y < 1 || launch.grid.z < 1 || launch.grid.x > 0x7fffffff || launch.grid.y > 65535 ||
      launch.grid.z > 65535) {
    fault_ = "a launch beyond what the card takes: " + std::to_string(launch.grid.x) + "x" + std::to_string(launch.grid.y) + "x" +
             std::to_string(launch.grid.z) + " blocks of " + std::to_string(launch.threads) + " threads with " +
             std::to_string(launch.sharedBytes) + " bytes of shared memory" + where();
    return;
  }
  random_ = options.seed * 0x9e3779b97f4a7c15ull | 1;
  if (options.races) global_.begin(spans_);
  lanes_.resize(static_cast<size_t>(launch.threads));
  stacks_.resize(static_cast<size_t>(launch.threads) * kStackDistance + 64);
  shared_.resize(launch.sharedBytes + 16);
  const int64_t blocks = launch.grid.x * launch.grid.y * launch.grid.z;
  const int64_t wanted = options.sampledBlocks > 0 && options.sampledBlocks < blocks ? options.sampledBlocks : blocks;
  KernelCounts before;
  KernelCounts& count = counts.byKernel[launch.name];
  std::swap(before, count);
  for (int64_t i = 0; i < wanted && !faulty(); i++) {
    // One out of each of as many equal parts of the grid.
    const int64_t from = i * blocks / wanted, to = (i + 1) * blocks / wanted;
    const int64_t at = wanted == blocks ? i : from + static_cast<int64_t>(random() % static_cast<uint64_t>(to - from));
    blockNumber_ = static_cast<uint64_t>(at);
    block_ = {static_cast<int>(at % launch.grid.x), static_cast<int>(at / launch.grid.x % launch.grid.y),
              static_cast<int>(at / launch.grid.x / launch.grid.y)};
    runBlock();
    count.blocks++;
  }
  count.launches = 1;
  count.threads = launch.threads;
  count.sharedBytes = launch.sharedBytes;
  std::swap(before, count);
  count.add(before, static_cast<double>(blocks) / static_cast<double>(wanted));
  current_ = nullptr;
}

unsigned char* Machine::stackOf(int thread) {
  auto* const first = reinterpret_cast<unsigned char*>((reinterpret_cast<uintptr_t>(stacks_.data()) + 63) / 64 * 64);
  return first + static_cast<size_t>(thread) * kStackDistance + kStackMargin;
}

void Machine::runBlock() {
  std::fill(shared_.begin(), shared_.end(), kPoison);
  sharedShadow_.begin(launch_->sharedBytes);
  const int warps = launch_->threads / kLanes;
  warpEpochs_.assign(static_cast<size_t>(warps), 0);
  barriers_ = 0;
  for (int i = 0; i < launch_->threads; i++) {
    Lane& lane = lanes_[static_cast<size_t>(i)];
    lane.state = State::Ready;
    lane.index = i;
    lane.group = 0;
    lane.copies.clear();
    lane.requests.clear();
    unsigned char* const stack = stackOf(i);
    std::memset(stack, kCanary, kCanaryBytes);
    lane.fibre.prepare(stack, &Machine::begin, &lane);
  }
  while (!faulty()) {
    const auto start = static_cast<int>(random() % static_cast<uint64_t>(warps));
    for (int i = 0; i < warps && !faulty(); i++) {
      const int warp = (start + i) % warps;
      // On to the next barrier, or sometimes to another warp before that.
      while (runWarp(warp) && random() % 4 != 0) {}
    }
    if (faulty()) break;
    int waiting = 0, done = 0;
    const Lane* first = nullptr;
    bool oneSite = true;
    for (const Lane& lane : lanes_) {
      if (lane.state == State::Done) done++;
      if (lane.state != State::AtBarrier) continue;
      waiting++;
      if (first == nullptr) first = &lane;
      oneSite = oneSite && lane.site == first->site;
    }
    if (done == launch_->threads) break;
    if (waiting == launch_->threads && oneSite) {
      barriers_++;
      if (options.counts) counts.byKernel[launch_->name].barriers++;
      for (Lane& lane : lanes_) lane.state = State::Ready;
    } else if (waiting + done == launch_->threads || !oneSite) {
      current_ = nullptr;
      fault_ = "a divergent barrier: " + std::to_string(waiting) + " threads wait" + (oneSite ? "" : " at different ones") + ", " +
               std::to_string(done) + " have ended" + where();
    }
  }
}

// Runs the lanes that can, and what they wait for together. False where they wait for others, or are done.
bool Machine::runWarp(int warp) {
  Lane* const lanes = &lanes_[static_cast<size_t>(warp * kLanes)];
  const auto start = static_cast<int>(random() % kLanes), stride = static_cast<int>(random() % kLanes) | 1;
  bool ran = false;
  for (int i = 0; i < kLanes; i++) {
    Lane& lane = lanes[(start + i * stride) % kLanes];
    if (lane.state != State::Ready) continue;
    ran = true;
    current_ = &lane;
    lane.fibre.enter();
    if (faulty()) return false;
  }
  if (!ran) return false;
  return complete(warp);
}

bool Machine::complete(int warp) {
  Lane* const lanes = &lanes_[static_cast<size_t>(warp * kLanes)];
  if (options.counts) {
    std::vector<Request>* requests[kLanes];
    for (int i = 0; i < kLanes; i++) requests[i] = &lanes[i].requests;
    countRequests(requests, kLanes, &counts.byKernel[launch_->name]);
  }
  for (int i = 0; i < kLanes; i++)
    if (stackOf(lanes[i].index)[kCanaryBytes - 1] != kCanary) {
      current_ = &lanes[i];
      fault_ = "the stack overflowed" + where();
      return false;
    }
  bool together = false;
  for (int i = 0; i < kLanes; i++) together = together || lanes[i].state == State::Together;
  if (!together) return false;
  for (int i = 0; i < kLanes; i++)
    if (lanes[i].state != State::Together || lanes[i].what != lanes[0].what || lanes[i].site != lanes[0].site) {
      current_ = &lanes[i];
      const Lane& other = lanes[0].state == State::Together ? lanes[0] : lanes[i];
      fault_ = std::string("a warp that diverged: not all its lanes come to the same ") + nameOf(other.what) + where();
      return false;
    }
  current_ = &lanes[0];
  perform(warp, lanes[0].what);
  if (faulty()) return false;
  for (int i = 0; i < kLanes; i++) lanes[i].state = State::Ready;
  return true;
}

const Span* Machine::spanOf(const void* address, uint32_t bytes) {
  const auto at = reinterpret_cast<uintptr_t>(address);
  if (at % bytes != 0) fail("a misaligned access of " + std::to_string(bytes) + " bytes to global memory");
  const auto holds = [&](const Span& s) {
    const auto begin = reinterpret_cast<uintptr_t>(s.data);
    return at >= begin && at + bytes <= begin + s.bytes;
  };
  if (lastSpan_ < spans_.size() && holds(spans_[lastSpan_])) return &spans_[lastSpan_];
  for (size_t i = 0; i < spans_.size(); i++)
    if (holds(spans_[i])) {
      lastSpan_ = i;
      return &spans_[i];
    }
  std::string nearest;
  for (const Span& s : spans_) {
    const auto begin = reinterpret_cast<uintptr_t>(s.data);
    if (at + bytes > begin && at < begin + s.bytes + 4096)
      nearest = ": at byte " + std::to_string(at - begin) + " of " + std::to_string(s.bytes) + " of " + s.name;
  }
  fail("an access of " + std::to_string(bytes) + " bytes outside the launch's memory" + nearest);
}

void Machine::read(const void* address, uint32_t bytes, int site, void* to) {
  const Span* const span = spanOf(address, bytes);
  if (options.counts) current_->requests.push_back({reinterpret_cast<uintptr_t>(address), bytes, site, false, false});
  // What nobody may write cannot race, and may be a whole table.
  if (options.races && span->writable &&
      global_.read(static_cast<size_t>(span - spans_.data()), static_cast<size_t>(static_cast<const unsigned char*>(address) - span->data),
                   bytes, toucher()))
    fail(std::string("a race: another thread wrote what is read of ") + span->name);
  std::memcpy(to, address, bytes);
}

void Machine::write(void* address, uint32_t bytes, int site, const void* from) {
  const Span* const span = spanOf(address, bytes);
  if (!span->writable) fail(std::string("a write to ") + span->name + ", which is read-only");
  if (options.counts) current_->requests.push_back({reinterpret_cast<uintptr_t>(address), bytes, site, false, true});
  if (options.races && global_.write(static_cast<size_t>(span - spans_.data()),
                                     static_cast<size_t>(static_cast<unsigned char*>(address) - span->data), bytes, toucher()))
    fail(std::string("a race: two threads touch what is written of ") + span->name);
  std::memcpy(address, from, bytes);
}

Toucher Machine::toucher() const {
  return {blockNumber_, current_->index, barriers_, warpEpochs_[static_cast<size_t>(current_->index / kLanes)]};
}

void Machine::judge(SharedShadow::Verdict verdict) {
  switch (verdict) {
    case SharedShadow::Verdict::Fine: return;
    case SharedShadow::Verdict::Race: fail("a race in shared memory: two threads, no barrier between");
    case SharedShadow::Verdict::Unwritten: fail("a read of shared memory before it was written");
    case SharedShadow::Verdict::Pending: fail("use of shared memory that copyAsync still writes");
  }
}

unsigned char* Machine::shared(uint32_t at, uint32_t bytes) {
  if (at % bytes != 0) fail("a misaligned access of " + std::to_string(bytes) + " bytes to shared memory");
  if (at > launch_->sharedBytes || bytes > launch_->sharedBytes - at)
    fail("an access outside shared memory: byte " + std::to_string(at) + " of " + std::to_string(launch_->sharedBytes));
  return shared_.data() + at;
}

void Machine::sharedRead(uint32_t at, uint32_t bytes, int site, void* to) {
  const unsigned char* const from = shared(at, bytes);
  if (options.counts) current_->requests.push_back({at, bytes, site, true, false});
  judge(sharedShadow_.read(at, bytes, toucher()));
  std::memcpy(to, from, bytes);
}

void Machine::sharedWrite(uint32_t at, uint32_t bytes, int site, const void* from) {
  unsigned char* const to = shared(at, bytes);
  if (options.counts) current_->requests.push_back({at, bytes, site, true, true});
  judge(sharedShadow_.write(at, bytes, toucher()));
  std::memcpy(to, from, bytes);
}

void Machine::copyAsync(uint32_t at, const void* from, bool whole, int site) {
  shared(at, 16);
  Copy copy{at, current_->group, {{0, 0, 0, 0}}};
  if (whole) read(from, 16, site, &copy.value);
  if (options.counts) current_->requests.push_back({at, 16, site, true, true});
  judge(sharedShadow_.depart(at, 16, toucher()));
  current_->copies.push_back(copy);
}

void Machine::copyCommit() { current_->group++; }

// The numbers arrive here, and not before: whoever looks earlier finds what was there, if the check did not.
void Machine::copyWait(int most) {
  std::vector<Copy>& copies = current_->copies;
  size_t kept = 0;
  for (const Copy& copy : copies) {
    if (copy.group + static_cast<uint32_t>(most) >= current_->group) {
      copies[kept++] = copy;
      continue;
    }
    judge(sharedShadow_.arrive(copy.at, 16, toucher()));
    std::memcpy(shared_.data() + copy.at, &copy.value, 16);
  }
  copies.resize(kept);
}

void Machine::barrier(int site) { stop(State::AtBarrier, site); }

void Machine::together(Together what, int site) {
  current_->what = what;
  stop(State::Together, site);
}

}  // namespace asdm::cuda::emulation
