#include "base/thread_pool.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <time.h>

#include <atomic>
#include <chrono>
#include <numeric>
#include <vector>

#include "foveate/error.h"

namespace foveate {
namespace {

class ThreadPoolTest : public testing::TestWithParam<int> {};

TEST_P(ThreadPoolTest, ForEachHandsOutEveryIndexOnce) {
  ThreadPool pool(GetParam());
  for (std::int64_t count : {0, 1, 2, 3, 17, 1000}) {
    std::vector<std::atomic<int>> calls(count);
    pool.ForEach(count, [&](std::int64_t index, int worker) {
      ASSERT_LT(worker, pool.size());
      ++calls[index];
    });
    for (const auto& times : calls) ASSERT_EQ(times, 1);
  }
}

TEST_P(ThreadPoolTest, WritesOfTasksAreSeenAfterTheJoin) {
  ThreadPool pool(GetParam());
  std::vector<std::int64_t> values(4096);
  for (int round = 1; round < 50; ++round) {
    pool.ForEach(4096, [&](std::int64_t index, int) { values[index] += round; });
  }
  EXPECT_EQ(std::accumulate(values.begin(), values.end(), std::int64_t{0}), 4096 * (49 * 50 / 2));
}

// Workers come late to most of these forks, and some are on their way when the pool ends.
TEST_P(ThreadPoolTest, ManySmallForksEnd) {
  for (int round = 0; round < 20; ++round) {
    ThreadPool pool(GetParam());
    std::int64_t sum[3] = {};
    for (int fork = 0; fork < 500; ++fork) {
      pool.ForEach(3, [&](std::int64_t index, int) { sum[index] += index; });
    }
    EXPECT_EQ(sum[0] + sum[1] + sum[2], 500 * 3);
  }
}

INSTANTIATE_TEST_SUITE_P(Threads, ThreadPoolTest, testing::Values(1, 2, 3, 4, 16));

TEST(ThreadPool, IdleCostsNoCpu) {
  ThreadPool pool(4);
  pool.ForEach(8, [](std::int64_t, int) {});
  timespec pause{0, 100'000'000};
  nanosleep(&pause, nullptr);  // let the spinning end
  rusage before{}, after{};
  getrusage(RUSAGE_SELF, &before);
  pause = {0, 300'000'000};
  nanosleep(&pause, nullptr);
  getrusage(RUSAGE_SELF, &after);
  const auto micros = [](const rusage& usage) {
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 + usage.ru_utime.tv_usec +
           usage.ru_stime.tv_usec;
  };
  EXPECT_LT(micros(after) - micros(before), 20e3);
}

TEST(ThreadPool, RefusesNonsense) {
  EXPECT_THROW(ThreadPool(0), Error);
  EXPECT_THROW(ThreadPool(-3), Error);
  EXPECT_THROW(ThreadPool(100000), Error);
}

}  // namespace
}  // namespace foveate
