// Which tasks of an operation nobody has begun yet, and who takes which.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bitset>
#include <cstddef>
#include <cstdint>

#if defined(_MSC_VER)
#include <intrin.h>
#endif

namespace asdm {

// The tasks in shares: single ones, or as many neighbours as leave no more shares than there is room for. A worker takes those of its own
// part first, the same part of every operation, since kernels number their tasks by the rows that they write: what a worker reads is then
// mostly what it wrote itself, and still in its cache. Afterwards it takes what others have left.
//
// One thread opens a run; any may take, also late ones, from whatever run is then open.
class OpenTasks {
 public:
  // A share that has been taken: tasks first to end - 1, or from the last to the first.
  struct Share {
    int64_t first, end;
    bool backwards;
  };

  // Workers that may take: 0 to workers - 1.
  explicit OpenTasks(int workers) : workers_(workers), words_(std::min<int64_t>(kWords, 1 + (workers - 1) / kWorkersOfWord)) {}

  // tasks > 0; no share of the run before may be open. backwards: each part is taken from its end. Gives the number of shares.
  int64_t open(int64_t tasks, bool backwards) {
    const int64_t shares = std::min(tasks, kBits * words_);
    tasks_ = tasks;
    order_.store(backwards ? -shares : shares, std::memory_order_relaxed);
    for (int64_t w = 0; w * kBits < shares; w++) {
      const int64_t bits = std::min(kBits, shares - w * kBits);
      open_[static_cast<size_t>(w)].store(~uint64_t{0} >> (kBits - bits));
    }
    return shares;
  }

  bool any() const {
    for (int64_t w = 0; w < words_; w++)
      if (open_[static_cast<size_t>(w)].load() != 0) return true;
    return false;
  }

  // A share for this worker; false when none is left. After true the run stays what it is until whoever opened it knows that the share is done.
  bool take(int worker, Share* share) {
    // May be of another run than the share that is then taken: only the choice would be worse.
    const int64_t hint = order_.load(std::memory_order_relaxed), known = hint < 0 ? -hint : hint;
    const int64_t from = hint < 0 ? known - known * (worker + 1) / workers_ : known * worker / workers_;
    for (int64_t i = 0; i <= words_; i++) {
      // The word of the first share twice: what lies before it comes last.
      const int64_t w = (from / kBits + i) % words_;
      const uint64_t wanted = i == 0 ? ~uint64_t{0} << (from % kBits) : ~uint64_t{0};
      std::atomic<uint64_t>& word = open_[static_cast<size_t>(w)];
      for (uint64_t left = word.load(std::memory_order_relaxed) & wanted; left != 0;) {
        const uint64_t bit = left & (~left + 1);
        left = word.fetch_and(~bit, std::memory_order_acquire);
        if ((left & bit) == 0) {
          left &= wanted;
          continue;
        }
        const int64_t order = order_.load(std::memory_order_relaxed), shares = order < 0 ? -order : order;
        const int64_t place = w * kBits + indexOf(bit), index = order < 0 ? shares - 1 - place : place;
        *share = {index * tasks_ / shares, (index + 1) * tasks_ / shares, order < 0};
        return true;
      }
    }
    return false;
  }

  // Closes what is open, and gives how many shares those were.
  int64_t close() {
    int64_t shares = 0;
    for (int64_t w = 0; w < words_; w++)
      shares += static_cast<int64_t>(std::bitset<kBits>(open_[static_cast<size_t>(w)].exchange(0, std::memory_order_acquire)).count());
    return shares;
  }

 private:
  static constexpr int64_t kBits = 64;
  static constexpr int64_t kWords = 8;
  static constexpr int kWorkersOfWord = 16;  // four shares for each worker at least, as long as there are words

  static int64_t indexOf(uint64_t bit) {
#if defined(_MSC_VER) && defined(_WIN64)
    unsigned long index = 0;
    _BitScanForward64(&index, bit);
    return static_cast<int64_t>(index);
#elif defined(_MSC_VER)
    int64_t index = 0;
    while (bit >>= 1) index++;
    return index;
#else
    return __builtin_ctzll(bit);
#endif
  }

  const int workers_;
  const int64_t words_;
  int64_t tasks_ = 0;
  alignas(64) std::array<std::atomic<uint64_t>, static_cast<size_t>(kWords)> open_{};
  std::atomic<int64_t> order_{1};  // shares; negative where parts are taken from their ends
};

}  // namespace asdm
