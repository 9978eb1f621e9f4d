#include "napi/worker.h"

#include <algorithm>
#include <cstring>
#include <system_error>
#include <utility>

#include "napi/js.h"

namespace asdm::napi {

Worker::~Worker() {
  // Started workers are kept by the environment until they are joined.
  if (thread_.joinable()) {
    dispose();
    join();
  }
}

bool Worker::enqueue(std::shared_ptr<Call> call) {
  bool start = !started();
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (ending_) throw Failure{{Code::Disposed, "Expected a live model but it was disposed"}};
    queue_.push_back(std::move(call));
    if (start) {
      try {
        finished_.reset(new Message{Message::Kind::Finished});
        thread_ = std::thread([this] { loop(); });
      } catch (const std::system_error& error) {
        queue_.pop_back();
        throw Failure{{Code::OutOfMemory, std::string("Expected the system to start a thread but it did not: ") + error.what()}};
      } catch (...) {
        queue_.pop_back();
        throw;
      }
      finished_->worker = shared_from_this();
    }
  }
  wake_.notify_one();
  return start;
}

void Worker::cancel(uint64_t id) noexcept {
  std::shared_ptr<Call> dropped;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (auto it = queue_.begin(); it != queue_.end(); ++it) {
      if ((*it)->id != id) continue;
      dropped = std::move(*it);
      queue_.erase(it);
      break;
    }
  }
  if (dropped) settle(std::move(dropped));
  else wake_.notify_one();  // it may be waiting for inputs or arrays
}

void Worker::fed(Call& call) noexcept {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    call.fed = true;
  }
  wake_.notify_one();
}

void Worker::received(Call& call) noexcept {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    call.received = true;
  }
  wake_.notify_one();
}

void Worker::release() noexcept {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ending_ = true;
  }
  wake_.notify_one();
  if (!started()) free();
}

void Worker::free() noexcept {
  model_.reset();
  training_.reset();
}

void Worker::dispose() noexcept {
  std::deque<std::shared_ptr<Call>> dropped;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (running_) running_->cancelled.store(true, std::memory_order_relaxed);
    dropped.swap(queue_);
  }
  for (std::shared_ptr<Call>& call : dropped) {
    call->cancelled.store(true, std::memory_order_relaxed);
    settle(std::move(call));
  }
  release();
}

void Worker::join() noexcept {
  if (thread_.joinable()) thread_.join();
}

void Worker::loop() noexcept {
  for (;;) {
    std::shared_ptr<Call> call;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [this] { return ending_ || !queue_.empty(); });
      if (queue_.empty()) break;
      call = std::move(queue_.front());
      queue_.pop_front();
      running_ = call;
    }
    run(call);
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      running_.reset();
    }
    settle(std::move(call));
  }
  // Freeing gigabytes takes long enough to be felt on an event loop, so it happens here.
  free();
  outlet_.post(std::move(finished_));
}

void Worker::run(const std::shared_ptr<Call>& call) noexcept {
  {
    std::unique_lock<std::mutex> lock(mutex_);
    wake_.wait(lock, [&] { return call->fed || call->cancelled.load(std::memory_order_relaxed); });
  }
  if (call->cancelled.load(std::memory_order_relaxed) || !call->status.ok()) return;
  try {
    call->status = training_ != nullptr ? call->train(*training_, call) : call->work(*model_, call);
    if (call->status.ok() && !call->largeOutputs.empty()) copyOutputs(call);
    if (call->loads && call->status.ok()) call->weights = model_->loadedWeights();
  } catch (...) {
    call->status = statusOfException();
  }
  call->work = nullptr;  // and what it holds, which may be large
}

void Worker::copyOutputs(const std::shared_ptr<Call>& call) {
  const auto cancelled = [&] { return call->cancelled.load(std::memory_order_relaxed); };
  outlet_.post(std::unique_ptr<Message>(new Message{Message::Kind::Arrays, call}));
  {
    std::unique_lock<std::mutex> lock(mutex_);
    wake_.wait(lock, [&] { return call->received || cancelled(); });
    if (!call->received) return;  // the call is over, and nobody looks at what it left
  }
  if (!call->status.ok()) return;
  for (const LargeOutput& output : call->largeOutputs) {
    PlainVector<float>& data = output.from->data;
    constexpr size_t kPiece = kOutputBytes / sizeof(float);
    for (size_t at = 0; at < data.size() && !cancelled(); at += kPiece)
      std::memcpy(output.to + at, data.data() + at, std::min(kPiece, data.size() - at) * sizeof(float));
    PlainVector<float>().swap(data);
  }
}

void Worker::settle(std::shared_ptr<Call> call) noexcept {
  if (!call->done) return;
  std::unique_ptr<Message> message = std::move(call->done);
  message->call = std::move(call);
  outlet_.post(std::move(message));
}

void postProgress(Outlet& outlet, const std::shared_ptr<Call>& call, uint64_t done, uint64_t total) noexcept {
  try {
    outlet.post(std::unique_ptr<Message>(new Message{Message::Kind::Progress, call, nullptr, done, total}));
  } catch (...) {
    // No memory for a message about progress: the load goes on, and the next one may do.
  }
}

}  // namespace asdm::napi
