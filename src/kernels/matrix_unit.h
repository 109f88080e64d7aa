// Products of bfloat16 matrices by a matrix unit, summed in float. Defined on x86 alone (AMX).
//
//   left    [rows][depth], or with two pieces [rows][depth / 32][2][32]: numbers as sums of two
//   right   [columns / 16][depth / 2][16][2]: panels, two of the depth side by side
//
// Products are exact. Sums of 32 of the depth are formed apart and then added to c, so that a
// result does not depend on where a range of the depth begins. Denormal factors count as zero.
#pragma once

#include <cstdint>

namespace foveate {

inline constexpr std::int64_t kUnitRows = 32;   // of a block of the left matrix
inline constexpr std::int64_t kUnitDepth = 32;  // depths are padded to a multiple of this

// c [rows][columns] (+)= left * right. Strides count elements.
struct UnitProduct {
  const std::uint16_t* left;
  std::int64_t left_stride;
  int left_pieces;  // 1 or 2
  const std::uint16_t* right;
  std::int64_t right_panel;
  float* c;
  std::int64_t c_stride;
  std::int64_t depth;  // a multiple of kUnitDepth
  bool accumulate;     // false: c is overwritten
};

// The matrix unit of this thread is ready while one of these lives. Only where Isa::kAmx is
// supported.
class MatrixUnit {
 public:
  MatrixUnit();
  ~MatrixUnit();
  MatrixUnit(const MatrixUnit&) = delete;
  MatrixUnit& operator=(const MatrixUnit&) = delete;
};

// Columns [begin, end), multiples of 16, of `rows` rows, at most kUnitRows. Needs a MatrixUnit.
// Rows are read and written up to a multiple of 16.
void MultiplyByUnit(std::int64_t rows, const UnitProduct& product, std::int64_t begin,
                    std::int64_t end);

}  // namespace foveate
