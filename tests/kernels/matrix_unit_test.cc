#include "kernels/matrix_unit.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "base/cpu.h"
#include "base/half.h"

#if defined(__x86_64__)
namespace foveate {
namespace {

std::vector<BFloat16> SmallIntegers(std::int64_t count, std::mt19937& random) {
  std::vector<BFloat16> numbers(count);
  for (BFloat16& number : numbers) {
    number = ToBFloat16(static_cast<float>(static_cast<int>(random() % 17) - 8));
  }
  return numbers;
}

// Integers whose sums are exact in any order, so that every element can be told apart.
class MatrixUnitTest : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    const std::vector<Isa> here = SupportedIsas();
    if (std::find(here.begin(), here.end(), Isa::kAmx) == here.end()) {
      GTEST_SKIP() << "this machine has no matrix unit";
    }
  }
};

TEST_P(MatrixUnitTest, MultipliesPanels) {
  const int pieces = GetParam();
  std::mt19937 random(1);
  for (const std::int64_t rows : {1, 15, 16, 17, 32}) {
    for (const std::int64_t depth : {32, 64, 96}) {
      for (const std::int64_t panels : {1, 2, 3, 5}) {
        const std::int64_t left_stride = depth * pieces + 8, panel = depth * 16 + 32;
        const std::int64_t columns = panels * 16, c_stride = columns + 4;
        const std::vector<BFloat16> left = SmallIntegers(kUnitRows * left_stride, random);
        const std::vector<BFloat16> right = SmallIntegers(panels * panel, random);
        std::vector<float> c(kUnitRows * c_stride, 5.0f);
        const std::int64_t begin = panels > 2 ? 16 : 0;
        for (const bool accumulate : {false, true}) {
          const MatrixUnit unit;
          MultiplyByUnit(rows,
                         {.left = &left[0].bits,
                          .left_stride = left_stride,
                          .left_pieces = pieces,
                          .right = &right[0].bits,
                          .right_panel = panel,
                          .c = c.data(),
                          .c_stride = c_stride,
                          .depth = depth,
                          .accumulate = accumulate},
                         begin, columns);
        }
        for (std::int64_t row = 0; row < rows; ++row) {
          for (std::int64_t column = 0; column < columns; ++column) {
            float sum = 0;
            for (std::int64_t k = 0; k < depth * pieces; ++k) {
              // Pieces of 32 numbers alternate.
              const std::int64_t number = k / (32 * pieces) * 32 + k % 32;
              const std::int64_t at = column / 16 * panel + number / 2 * 32 + column % 16 * 2;
              sum += ToFloat(left[row * left_stride + k]) * ToFloat(right[at + number % 2]);
            }
            const float expected = column < begin ? 5.0f : 2 * sum;
            ASSERT_EQ(c[row * c_stride + column], expected)
                << rows << " rows " << depth << " deep, " << panels << " panels: " << row << ", "
                << column;
          }
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Pieces, MatrixUnitTest, ::testing::Values(1, 2));

}  // namespace
}  // namespace foveate
#endif  // x86
