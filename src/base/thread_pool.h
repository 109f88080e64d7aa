// Fork-join over a fixed set of threads, built for work items of microseconds.
//
// A forward pass forks some 150 times per token, so a fork must cost about a microsecond: workers
// that have just finished spin for a moment before they sleep in the kernel (idle costs no CPU).
// With more threads than CPUs spinning only steals time, so such a pool sleeps at once.
//
// Nobody waits for a worker that has not come yet: whoever is free takes the work, and a fork is
// closed when none is left. A worker that lost its CPU to another program is simply missed.
//
// One owner: only one thread may call ForEach at a time, and never from inside a task. Tasks must
// not throw.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace foveate {

class ThreadPool {
 public:
  // `threads` >= 1 workers, the calling thread being worker 0.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return static_cast<int>(threads_.size()) + 1; }

  // Calls task(index, worker) for every 0 <= index < count, handed out in order to whoever is free,
  // and returns when all are done. Tasks with the same `worker` do not overlap in time.
  template <typename Task>
  void ForEach(std::int64_t count, Task&& task) {
    if (count <= 0) return;
    if (size() == 1 || count == 1) {
      for (std::int64_t index = 0; index < count; ++index) task(index, 0);
      return;
    }
    std::atomic<std::int64_t> next{0};
    auto take = [&](int worker) {
      for (std::int64_t index; (index = next.fetch_add(1, std::memory_order_relaxed)) < count;) {
        task(index, worker);
      }
    };
    Fork([](void* data, int worker) { (*static_cast<decltype(take)*>(data))(worker); }, &take);
  }

 private:
  using Function = void (*)(void* data, int worker);
  static constexpr std::uint32_t kClosed = 1u << 31;  // flag of inside_

  void Fork(Function function, void* data);
  void WorkerLoop(int worker);
  bool Enter();  // false: the fork is closed
  // Returns once `word` differs from `old`.
  void WaitWhile(const std::atomic<std::uint32_t>& word, std::uint32_t old) const;

  std::vector<std::thread> threads_;
  int spins_ = 0;
  Function function_ = nullptr;
  void* data_ = nullptr;
  std::atomic<bool> stop_ = false;
  alignas(64) std::atomic<std::uint32_t> epoch_{0};         // one more for each fork
  alignas(64) std::atomic<std::uint32_t> inside_{kClosed};  // workers in the fork
};

}  // namespace foveate
