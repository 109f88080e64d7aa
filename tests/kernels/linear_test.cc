// Linear() against plain double-precision products with the weights as the file format defines
// them.
#include "kernels/linear.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "base/half.h"
#include "format/quant.h"
#include "foveate/error.h"

namespace foveate {
namespace {

constexpr TensorType kBlockTypes[] = {TensorType::kQ4_0,  TensorType::kQ4_1,   TensorType::kQ5_0,
                                      TensorType::kQ5_1,  TensorType::kQ8_0,   TensorType::kQ2_K,
                                      TensorType::kQ3_K,  TensorType::kQ4_K,   TensorType::kQ5_K,
                                      TensorType::kQ6_K,  TensorType::kIQ4_NL, TensorType::kIQ4_XS,
                                      TensorType::kMXFP4, TensorType::kTQ1_0,  TensorType::kTQ2_0};
constexpr TensorType kPlainTypes[] = {TensorType::kF32, TensorType::kF16, TensorType::kBF16,
                                      TensorType::kF64, TensorType::kI8};

std::string Name(TensorType type) { return std::string(TensorTypeName(type)); }

// Where a block has its f16 scales.
std::vector<int> HalfOffsets(TensorType type) {
  switch (type) {
    case TensorType::kQ4_1:
    case TensorType::kQ5_1:
    case TensorType::kQ4_K:
    case TensorType::kQ5_K: return {0, 2};
    case TensorType::kQ2_K: return {80, 82};
    case TensorType::kQ3_K: return {108};
    case TensorType::kQ6_K: return {208};
    case TensorType::kTQ1_0: return {52};
    case TensorType::kTQ2_0: return {64};
    case TensorType::kMXFP4: return {};
    default: return {0};
  }
}

using Random = std::mt19937;

float Uniform(Random& random, float low, float high) {
  return std::uniform_real_distribution<float>(low, high)(random);
}

template <typename T>
void Append(std::vector<std::byte>& bytes, T value) {
  const auto* begin = reinterpret_cast<const std::byte*>(&value);
  bytes.insert(bytes.end(), begin, begin + sizeof(T));
}

// A stored matrix whose every code and every scale is used.
struct Matrix {
  Matrix(TensorType type, std::int64_t rows, std::int64_t columns, Random& random) {
    const TensorTypeInfo& info = *FindTensorType(type);
    for (std::int64_t i = 0; i < rows * columns / info.block_values; ++i) {
      AppendBlock(info, random);
    }
    // Files do not align their blocks: neither do tests.
    bytes.insert(bytes.begin(), std::byte{0});
    tensor = {"w", type, {rows, columns}, std::span(bytes).subspan(1)};
  }

  void AppendBlock(const TensorTypeInfo& info, Random& random) {
    switch (info.type) {
      case TensorType::kF32: return Append(bytes, Uniform(random, -1, 1));
      case TensorType::kF64: return Append(bytes, static_cast<double>(Uniform(random, -1, 1)));
      case TensorType::kF16: return Append(bytes, ToHalf(Uniform(random, -1, 1)));
      case TensorType::kBF16: return Append(bytes, ToBFloat16(Uniform(random, -1, 1)));
      default: break;
    }
    const std::size_t begin = bytes.size();
    for (int i = 0; i < info.block_bytes; ++i) bytes.push_back(static_cast<std::byte>(random()));
    if (info.type == TensorType::kI8) return;
    for (const int offset : HalfOffsets(info.type)) {
      const Half scale = ToHalf(Uniform(random, -0.1f, 0.1f));
      std::memcpy(&bytes[begin + offset], &scale, sizeof(scale));
    }
    if (info.type == TensorType::kMXFP4) bytes[begin] = static_cast<std::byte>(118 + random() % 8);
  }

  std::vector<float> Row(std::int64_t row) const {
    const std::size_t row_bytes = tensor.bytes.size() / tensor.rows();
    std::vector<float> values(tensor.columns());
    DequantizeRow(tensor.type, tensor.bytes.data() + row * row_bytes, values);
    return values;
  }

  std::vector<std::byte> bytes;
  StoredTensor tensor;
};

std::vector<float> RandomInput(std::int64_t tokens, std::int64_t columns, Random& random) {
  std::vector<float> x(tokens * columns);
  for (float& value : x) value = Uniform(random, -2, 2);
  for (std::int64_t i = 0; i < std::min<std::int64_t>(columns, 32); ++i) x[i] = 0;  // a zero block
  x.back() = 40;                                                                    // an outlier
  return x;
}

// The definition of rounded activations: 8 bits in blocks of 32 with an f32 scale.
std::vector<float> Rounded(std::vector<float> x) {
  for (std::size_t begin = 0; begin < x.size(); begin += 32) {
    float largest = 0;
    for (int i = 0; i < 32; ++i) largest = std::max(largest, std::abs(x[begin + i]));
    const float scale = largest / 127.0f;
    const float inverse = scale == 0 ? 0 : 1.0f / scale;
    for (int i = 0; i < 32; ++i) x[begin + i] = std::nearbyint(x[begin + i] * inverse) * scale;
  }
  return x;
}

std::vector<float> RunLinear(Context& context, const PackedMatrix& packed,
                             const std::vector<float>& x, std::int64_t tokens,
                             ActivationMode mode) {
  Activations activations;
  activations.Set(context, MakeView(x.data(), tokens, packed.columns()), mode);
  std::vector<float> y(tokens * packed.rows(), -7.0f);
  const LinearTask task = {&packed, MakeView(y.data(), tokens, packed.rows())};
  Linear(context, activations, {&task, 1});
  return y;
}

// Compares y with products in double. Rounding may lose a few units in the last place of the
// largest weight of each block times the activations (codes with an offset pass through numbers
// that large), and `floor` where all weights are small beside the offset.
void ExpectProducts(const Matrix& matrix, const std::vector<float>& x, const std::vector<float>& y,
                    std::int64_t tokens, const std::string& what, double floor = 1e-8) {
  const std::int64_t rows = matrix.tensor.rows(), columns = matrix.tensor.columns();
  for (std::int64_t row = 0; row < rows; ++row) {
    const std::vector<float> w = matrix.Row(row);
    for (std::int64_t t = 0; t < tokens; ++t) {
      double sum = 0, magnitude = 0;
      for (std::int64_t begin = 0; begin < columns; begin += 32) {
        double largest = 0, inputs = 0;
        for (std::int64_t k = begin; k < std::min(begin + 32, columns); ++k) {
          sum += static_cast<double>(w[k]) * x[t * columns + k];
          largest = std::max<double>(largest, std::abs(w[k]));
          inputs += std::abs(x[t * columns + k]);
        }
        magnitude += largest * inputs;
      }
      ASSERT_NEAR(y[t * rows + row], sum, 5e-7 * magnitude + floor)
          << what << " row " << row << " token " << t;
    }
  }
}

std::vector<ActivationMode> BothModes() { return {ActivationMode::kF32, ActivationMode::kQ8}; }

TEST(PackedMatrixTest, RowsEqualTheFormatsBitForBit) {
  Random random(1);
  Context context({.threads = 2});
  std::vector<TensorType> types(std::begin(kBlockTypes), std::end(kBlockTypes));
  types.insert(types.end(), std::begin(kPlainTypes), std::end(kPlainTypes));
  for (const TensorType type : types) {
    const Matrix matrix(type, 37, 768, random);
    const PackedMatrix packed = PackedMatrix::Pack(context, matrix.tensor);
    ASSERT_EQ(packed.rows(), 37);
    ASSERT_EQ(packed.columns(), 768);
    for (std::int64_t row = 0; row < 37; ++row) {
      std::vector<float> values(768);
      packed.DequantizeRow(row, values.data());
      ASSERT_EQ(values, matrix.Row(row)) << Name(type) << " row " << row;
    }
  }
}

TEST(PackedMatrixTest, IsAsSmallAsTheFile) {
  Random random(2);
  Context context({.threads = 1});
  for (const TensorType type : kBlockTypes) {
    const Matrix matrix(type, 32, 512, random);
    const double growth = static_cast<double>(PackedMatrix::Pack(context, matrix.tensor).bytes()) /
                          static_cast<double>(matrix.tensor.bytes.size());
    // Codes of two and three bits are widened to four, 6-bit scales to eight.
    const bool narrow = type == TensorType::kQ2_K || type == TensorType::kQ3_K ||
                        type == TensorType::kTQ1_0 || type == TensorType::kTQ2_0;
    EXPECT_LE(growth, narrow ? 2.8 : type == TensorType::kMXFP4 ? 1.2 : 1.03) << Name(type);
  }
}

TEST(PackedMatrixTest, ReleasesTheSourceOnceAndWhole) {
  Random random(3);
  Context context({.threads = 2});
  const Matrix matrix(TensorType::kF32, 5000, 1024, random);  // 20 MB: several parts
  const std::byte* next = matrix.tensor.bytes.data();
  int parts = 0;
  PackedMatrix::Pack(context, matrix.tensor, [&](std::span<const std::byte> part) {
    EXPECT_EQ(part.data(), next);
    next += part.size();
    ++parts;
  });
  EXPECT_EQ(next, matrix.tensor.bytes.data() + matrix.tensor.bytes.size());
  EXPECT_GT(parts, 1);
}

TEST(PackedMatrixTest, RefusesWhatDoesNotFit) {
  Context context({.threads = 1});
  std::vector<std::byte> bytes(1000);
  const auto code = [&](TensorType type, std::vector<std::int64_t> shape, std::size_t size) {
    try {
      PackedMatrix::Pack(context,
                         {"blk.0.w", type, std::move(shape), std::span(bytes).first(size)});
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("blk.0.w"), std::string::npos);
      return ErrorCodeName(error.code());
    }
    return "no error";
  };
  EXPECT_STREQ(code(TensorType::kQ8_1, {1, 32}, 36), "unsupported");
  EXPECT_STREQ(code(static_cast<TensorType>(99), {1, 32}, 36), "unsupported");
  EXPECT_STREQ(code(TensorType::kQ4_0, {1, 48}, 27), "corrupt_file");
  EXPECT_STREQ(code(TensorType::kQ4_0, {2, 32}, 18), "corrupt_file");
  EXPECT_STREQ(code(TensorType::kQ4_0, {2, 32}, 36), "no error");
}

TEST(ActivationsTest, RoundToEightBits) {
  Random random(4);
  for (const Isa isa : SupportedIsas()) {
    Context context({.threads = 2, .isa = isa});
    for (const std::int64_t tokens : {1, 63, 64, 65, 200}) {
      const std::int64_t columns = 96;
      const std::vector<float> x = RandomInput(tokens, columns, random);
      const std::vector<float> expected = Rounded(x);
      Activations activations;
      activations.Set(context, MakeView(x.data(), tokens, columns), ActivationMode::kQ8);
      for (std::int64_t t = 0; t < tokens; ++t) {
        const std::int64_t g = t / 64, n = activations.group_tokens(g);
        for (std::int64_t k = 0; k < columns; ++k) {
          const ActivationBlock& block = activations.group(g)[k / 32 * n + t % 64];
          ASSERT_EQ(block.values[k % 32] * block.scale, expected[t * columns + k])
              << IsaName(isa) << " token " << t << " of " << tokens << " column " << k;
        }
        const ActivationBlock& last = activations.group(g)[2 * n + t % 64];
        int halves[2] = {};
        for (int i = 0; i < 32; ++i) halves[i / 16] += last.values[i];
        EXPECT_EQ(last.sum, last.scale * static_cast<float>(halves[0] + halves[1]));
        EXPECT_EQ(last.half_sums[0], last.scale * static_cast<float>(halves[0]));
        EXPECT_EQ(last.half_sums[1], last.scale * static_cast<float>(halves[1]));
      }
    }
  }
}

TEST(ActivationsTest, CarryNotANumber) {
  for (const Isa isa : SupportedIsas()) {
    Context context({.threads = 1, .isa = isa});
    for (const float bad : {NAN, -NAN, INFINITY, -INFINITY}) {
      std::vector<float> x(64, 1.0f);
      x[40] = bad;
      Activations activations;
      activations.Set(context, MakeView(x.data(), 1, 64), ActivationMode::kQ8);
      EXPECT_EQ(activations.group(0)[0].scale, 1.0f / 127.0f);
      EXPECT_FALSE(std::isfinite(activations.group(0)[1].scale)) << IsaName(isa) << " " << bad;
    }
    std::vector<float> x(32, 1e-40f);  // denormal: as good as zero
    Activations activations;
    activations.Set(context, MakeView(x.data(), 1, 32), ActivationMode::kQ8);
    EXPECT_EQ(activations.group(0)[0].values[5], 0);
    EXPECT_EQ(activations.group(0)[0].sum, 0.0f);
  }
}

struct Shape {
  std::int64_t rows, columns, tokens;
};

TEST(LinearTest, BlockTypesMatchTheirDefinition) {
  Random random(5);
  constexpr Shape kShapes[] = {{1, 32, 1},    {15, 64, 2},  {17, 96, 3},   {100, 288, 17},
                               {33, 1024, 5}, {16, 512, 7}, {48, 256, 64}, {20, 256, 130}};
  for (const Isa isa : SupportedIsas()) {
    Context context({.threads = 2, .isa = isa});
    for (const TensorType type : kBlockTypes) {
      for (const auto& [rows, shape_columns, tokens] : kShapes) {
        const std::int64_t block = FindTensorType(type)->block_values;
        const std::int64_t columns = (shape_columns + block - 1) / block * block;
        const Matrix matrix(type, rows, columns, random);
        const PackedMatrix packed = PackedMatrix::Pack(context, matrix.tensor);
        const std::vector<float> x = RandomInput(tokens, columns, random);
        for (const ActivationMode mode : BothModes()) {
          const bool rounded = mode == ActivationMode::kQ8;
          ExpectProducts(matrix, rounded ? Rounded(x) : x,
                         RunLinear(context, packed, x, tokens, mode), tokens,
                         Name(type) + " " + IsaName(isa) + (rounded ? " q8" : " f32"));
        }
      }
    }
  }
}

TEST(LinearTest, PlainTypesTakeAnyNumberOfColumns) {
  Random random(6);
  constexpr Shape kShapes[] = {{1, 1, 1}, {17, 7, 13}, {100, 33, 6}, {15, 640, 12}, {40, 300, 130}};
  for (const Isa isa : SupportedIsas()) {
    Context context({.threads = 3, .isa = isa});
    for (const TensorType type : kPlainTypes) {
      for (const auto& [rows, columns, tokens] : kShapes) {
        const Matrix matrix(type, rows, columns, random);
        const PackedMatrix packed = PackedMatrix::Pack(context, matrix.tensor);
        const std::vector<float> x = RandomInput(tokens, columns, random);
        for (const ActivationMode mode : BothModes()) {  // the mode makes no difference
          ExpectProducts(matrix, x, RunLinear(context, packed, x, tokens, mode), tokens,
                         Name(type) + " " + IsaName(isa));
        }
      }
    }
  }
}

// The largest codes against the largest activations: where sums in 16 bits would overflow.
// One code too many or too few is 0.03; weights of zero still pass through 0.01 * 128 * 768 where a
// kernel makes signed codes unsigned.
TEST(LinearTest, ExtremeCodesDoNotOverflow) {
  constexpr double kFloor = 1e-6;
  for (const Isa isa : SupportedIsas()) {
    Context context({.threads = 1, .isa = isa});
    for (const TensorType type : kBlockTypes) {
      const TensorTypeInfo& info = *FindTensorType(type);
      for (const int fill : {0xff, 0x00, 0x80, 0x7f}) {
        Random random(fill);
        Matrix matrix(type, 16, 256, random);
        for (std::size_t i = 1; i < matrix.bytes.size(); ++i) {
          matrix.bytes[i] = static_cast<std::byte>(fill);
        }
        for (std::size_t begin = 1; begin < matrix.bytes.size(); begin += info.block_bytes) {
          const Half scale = ToHalf(0.01f);
          for (const int at : HalfOffsets(type)) std::memcpy(&matrix.bytes[begin + at], &scale, 2);
          if (type == TensorType::kMXFP4) matrix.bytes[begin] = std::byte{120};
        }
        const PackedMatrix packed = PackedMatrix::Pack(context, matrix.tensor);
        for (const float value : {3.0f, -3.0f}) {
          const std::vector<float> x(256, value);
          ExpectProducts(matrix, x, RunLinear(context, packed, x, 1, ActivationMode::kQ8), 1,
                         Name(type) + " " + IsaName(isa), kFloor);
        }
      }
    }
  }
}

// Prefill in any batches and decoding token by token on any number of threads: the same bits.
TEST(LinearTest, ResultsDependNeitherOnThreadsNorOnBatch) {
  Random random(7);
  const std::int64_t tokens = 130, rows = 100, columns = 512;
  const std::vector<float> x = RandomInput(tokens, columns, random);
  for (const Isa isa : SupportedIsas()) {
    for (const TensorType type : {TensorType::kQ4_1, TensorType::kQ5_0, TensorType::kQ6_K,
                                  TensorType::kQ8_0, TensorType::kIQ4_NL, TensorType::kF16}) {
      Context one({.threads = 1, .isa = isa}), three({.threads = 3, .isa = isa});
      const Matrix matrix(type, rows, columns, random);
      const PackedMatrix packed = PackedMatrix::Pack(one, matrix.tensor);
      for (const ActivationMode mode : BothModes()) {
        const std::vector<float> expected = RunLinear(one, packed, x, tokens, mode);
        ASSERT_EQ(RunLinear(three, packed, x, tokens, mode), expected) << Name(type);
        std::int64_t begin = 0;
        for (std::int64_t count = 1; begin + count <= tokens; begin += count++) {
          const std::vector<float> part(x.begin() + begin * columns,
                                        x.begin() + (begin + count) * columns);
          const std::vector<float> y = RunLinear(three, packed, part, count, mode);
          for (std::size_t i = 0; i < y.size(); ++i) {
            ASSERT_EQ(y[i], expected[begin * rows + i])
                << Name(type) << " " << IsaName(isa) << " batch of " << count;
          }
        }
      }
    }
  }
}

TEST(LinearTest, SeveralTasksStridesAndAccumulation) {
  Random random(8);
  const std::int64_t tokens = 9, columns = 64;
  const std::vector<float> x = RandomInput(tokens, columns, random);
  const Matrix first(TensorType::kQ4_1, 40, columns, random);
  const Matrix second(TensorType::kF32, 3, columns, random);
  const Matrix third(TensorType::kQ8_0, 200, columns, random);
  for (const int threads : {1, 2, 5}) {
    Context context({.threads = threads});
    const PackedMatrix packed[] = {PackedMatrix::Pack(context, first.tensor),
                                   PackedMatrix::Pack(context, second.tensor),
                                   PackedMatrix::Pack(context, third.tensor)};
    const std::vector<float> alone[] = {
        RunLinear(context, packed[0], x, tokens, ActivationMode::kQ8),
        RunLinear(context, packed[1], x, tokens, ActivationMode::kQ8),
        RunLinear(context, packed[2], x, tokens, ActivationMode::kQ8)};
    // All outputs are columns of one buffer, with a gap after each that must stay untouched.
    const std::int64_t stride = 40 + 3 + 200 + 3;
    std::vector<float> y(tokens * stride, 2.0f);
    const auto view = [&](std::int64_t column, std::int64_t rows) {
      return View<float, 2>{y.data() + column, {tokens, rows}, {stride, 1}};
    };
    const LinearTask tasks[] = {{&packed[0], view(0, 40)},
                                {&packed[1], view(41, 3), true},
                                {&packed[2], view(45, 200), true}};
    Activations activations;
    activations.Set(context, MakeView(x.data(), tokens, columns), ActivationMode::kQ8);
    Linear(context, activations, tasks);
    for (std::int64_t t = 0; t < tokens; ++t) {
      const float* row = &y[t * stride];
      for (int i = 0; i < 40; ++i) ASSERT_EQ(row[i], alone[0][t * 40 + i]);
      for (int i = 0; i < 3; ++i) ASSERT_EQ(row[41 + i], 2.0f + alone[1][t * 3 + i]);
      for (int i = 0; i < 200; ++i) ASSERT_EQ(row[45 + i], 2.0f + alone[2][t * 200 + i]);
      for (const int gap : {40, 44, 245}) ASSERT_EQ(row[gap], 2.0f);
    }
  }
}

TEST(LinearTest, NothingToDo) {
  Context context({.threads = 2});
  Random random(9);
  const Matrix matrix(TensorType::kQ8_0, 16, 32, random);
  const PackedMatrix packed = PackedMatrix::Pack(context, matrix.tensor);
  EXPECT_TRUE(RunLinear(context, packed, {}, 0, ActivationMode::kQ8).empty());
  Linear(context, Activations(), {});
  EXPECT_EQ(PackedMatrix().rows(), 0);
}

}  // namespace
}  // namespace foveate
