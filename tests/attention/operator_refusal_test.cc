// What the operator refuses: one clear error, and nothing written.
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "attention/attention.h"
#include "attention/window_pattern.h"
#include "base/throw.h"
#include "tests/support/attention_problem.h"

namespace foveate {
namespace {

using namespace testing;

struct Call {
  AttentionInputs in;
  AttentionOutputs out;
  AttentionOptions options;
};

class OperatorRefusal : public ::testing::Test {
 protected:
  // B 2, H 6, Hkv 2, N 5, M 7, D 8, Dv 4.
  OperatorRefusal() : random_(1), problem_({2, 6, 2, 5, 7, 8, 4}, random_) {}

  // Makes the call as `change` leaves it.
  void Attempt(const std::function<void(Call&)>& change) {
    Call call{{problem_.query.ref(), problem_.key.ref(), problem_.value.ref()},
              {out_.mutable_ref(), MakeView(lse_.data(), 2, 6, 5)},
              {}};
    change(call);
    AttentionScratch scratch;
    Attention(context_, call.in, call.options, scratch, call.out);
  }

  void ExpectRefusal(ErrorCode code, const std::string& part,
                     const std::function<void(Call&)>& change) {
    SCOPED_TRACE(part);
    try {
      Attempt(change);
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      const std::string text = error.what();
      EXPECT_EQ(error.code(), code) << text;
      EXPECT_NE(text.find(part), std::string::npos) << text;
      EXPECT_EQ(text.find('\n'), std::string::npos) << text;
    }
    out_.ExpectUnused();
    for (const float lse : lse_) ASSERT_EQ(lse, 77.0f);
  }
  void ExpectRefusal(const std::string& part, const std::function<void(Call&)>& change) {
    ExpectRefusal(ErrorCode::kInvalidArgument, part, change);
  }

  Context context_{{.threads = 1}};
  std::mt19937 random_;
  AttentionProblem problem_;
  HeldTensor out_{{2, 6, 5, 4}, ElementType::kF32, Order::kGaps};
  std::vector<float> lse_ = std::vector<float>(60, 77.0f);
};

TEST_F(OperatorRefusal, ShapesThatDoNotFit) {
  ExpectRefusal("query [2, 6, 5, 0]", [](Call& c) { c.in.query.shape[3] = 0; });
  ExpectRefusal("query [2, 6, 5, 513]", [](Call& c) { c.in.query.shape[3] = 513; });
  ExpectRefusal("query [2, 6, -1, 8]", [](Call& c) { c.in.query.shape[2] = -1; });
  ExpectRefusal("query [-2, 6, 5, 8]", [](Call& c) { c.in.query.shape[0] = -2; });
  ExpectRefusal("query [2, 0, 5, 8]", [](Call& c) { c.in.query.shape[1] = 0; });
  ExpectRefusal("key [2, 2, 7, 9]", [](Call& c) { c.in.key.shape[3] = 9; });
  ExpectRefusal("key [1, 2, 7, 8]", [](Call& c) { c.in.key.shape[0] = 1; });
  ExpectRefusal("key [2, 0, 7, 8]", [](Call& c) { c.in.key.shape[1] = 0; });
  ExpectRefusal("key [2, 2, -7, 8]", [](Call& c) { c.in.key.shape[2] = -7; });
  ExpectRefusal("6 query heads do not divide over 4 KV heads",
                [](Call& c) { c.in.key.shape[1] = 4; });
  ExpectRefusal("value [2, 2, 6, 4]", [](Call& c) { c.in.value.shape[2] = 6; });
  ExpectRefusal("value [2, 3, 7, 4]", [](Call& c) { c.in.value.shape[1] = 3; });
  ExpectRefusal("value [2, 2, 7, 0]", [](Call& c) { c.in.value.shape[3] = 0; });
  ExpectRefusal("value [2, 2, 7, 513]", [](Call& c) { c.in.value.shape[3] = 513; });
  ExpectRefusal("out [2, 6, 5, 3]", [](Call& c) { c.out.out.shape[3] = 3; });
  ExpectRefusal("out [2, 6, 4, 4]", [](Call& c) { c.out.out.shape[2] = 4; });
  ExpectRefusal("lse [2, 6, 6]", [](Call& c) { c.out.lse.shape[2] = 6; });
}

TEST_F(OperatorRefusal, MemoryThatIsNotThere) {
  ExpectRefusal("query has no data", [](Call& c) { c.in.query.data = nullptr; });
  ExpectRefusal("key has no data", [](Call& c) { c.in.key.data = nullptr; });
  ExpectRefusal("value has no data", [](Call& c) { c.in.value.data = nullptr; });
  ExpectRefusal("out has no data", [](Call& c) { c.out.out.data = nullptr; });
  ExpectRefusal("out has a stride of 0", [](Call& c) { c.out.out.strides[2] = 0; });
  ExpectRefusal("lse has a stride of 0", [](Call& c) { c.out.lse.strides[1] = 0; });
}

TEST_F(OperatorRefusal, SizesThatOverflow) {
  constexpr std::int64_t kHuge = std::numeric_limits<std::int64_t>::max();
  for (const std::int64_t huge : {kHuge, kHuge / 8, std::int64_t{1} << 45}) {
    SCOPED_TRACE(huge);
    const auto all = [&](int axis, bool with_keys) {
      return [=](Call& c) {
        c.in.query.shape[axis] = c.out.out.shape[axis] = c.out.lse.shape[axis] = huge;
        if (with_keys) c.in.key.shape[axis] = c.in.value.shape[axis] = huge;
      };
    };
    ExpectRefusal(ErrorCode::kLimit, "query", all(0, true));
    ExpectRefusal(ErrorCode::kLimit, "query", all(1, true));
    ExpectRefusal(ErrorCode::kLimit, "query", all(2, false));
    ExpectRefusal(ErrorCode::kLimit, "key",
                  [=](Call& c) { c.in.key.shape[2] = c.in.value.shape[2] = huge; });
  }
  ExpectRefusal(ErrorCode::kLimit, "key", [](Call& c) { c.in.key.strides[2] = kHuge / 4; });
  ExpectRefusal(ErrorCode::kLimit, "value", [](Call& c) { c.in.value.strides[1] = -kHuge; });
  ExpectRefusal(ErrorCode::kLimit, "out", [](Call& c) { c.out.out.strides[0] = kHuge; });
}

TEST_F(OperatorRefusal, OptionsOutOfRange) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  for (const float cap : {-1.0f, -kInfinity, kInfinity, kNan}) {
    ExpectRefusal("soft cap", [=](Call& c) { c.options.soft_cap = cap; });
  }
  for (const float scale : {kInfinity, kNan}) {
    ExpectRefusal("scale", [=](Call& c) { c.options.scale = scale; });
  }
  ExpectRefusal("5 ALiBi slopes", [](Call& c) { c.options.alibi_slopes.assign(5, 0.5f); });
  ExpectRefusal("7 sinks", [](Call& c) { c.options.sinks.assign(7, 0.5f); });
  ExpectRefusal("2 head patterns", [](Call& c) { c.options.head_patterns.resize(2); });
  for (const float bad : {kInfinity, kNan}) {
    ExpectRefusal("ALiBi slope of head 4", [=](Call& c) {
      c.options.alibi_slopes.assign(6, 0.5f);
      c.options.alibi_slopes[4] = bad;
    });
    ExpectRefusal("sink of head 3", [=](Call& c) {
      c.options.sinks.assign(6, 0.5f);
      c.options.sinks[3] = bad;
    });
  }
}

TEST_F(OperatorRefusal, ABiasThatDoesNotBroadcast) {
  std::vector<float> bias(10000);
  for (const auto& shape : std::vector<std::array<std::int64_t, 4>>{
           {2, 6, 5, 6}, {3, 1, 1, 1}, {1, 2, 1, 7}, {1, 1, 0, 7}, {1, 1, -5, 7}}) {
    ExpectRefusal("bias", [&](Call& c) {
      c.options.bias = MakeView<const float>(bias.data(), shape[0], shape[1], shape[2], shape[3]);
    });
  }
}

TEST_F(OperatorRefusal, PatternsThatDoNotServeTheCall) {
  EXPECT_THROW(Window(-2, 0), Error);
  EXPECT_THROW(Window(0, -2), Error);
  class Picky final : public Pattern {
    void Check(const AttentionShape& shape) const override {
      Throw(ErrorCode::kInvalidArgument, "picky: not {} queries", shape.queries);
    }
    bool Attends(const AttentionShape&, std::int64_t, std::int64_t) const override { return true; }
    Coverage Cover(const AttentionShape& shape, Range) const override {
      return {{{0, shape.keys}}, {{0, shape.keys}}};
    }
  };
  ExpectRefusal("picky: not 5 queries",
                [](Call& c) { c.options.pattern = std::make_shared<Picky>(); });
  ExpectRefusal("picky: not 5 queries", [](Call& c) {
    c.options.head_patterns.resize(6);
    c.options.head_patterns[5] = std::make_shared<Picky>();
  });
}

TEST_F(OperatorRefusal, EmptyCallsAreFine) {
  Attempt([](Call& c) { c.in.query.shape[2] = c.out.out.shape[2] = c.out.lse.shape[2] = 0; });
  Attempt([](Call& c) {
    c.in.query.shape[0] = c.in.key.shape[0] = c.in.value.shape[0] = 0;
    c.out.out.shape[0] = c.out.lse.shape[0] = 0;
  });
  out_.ExpectUnused();
  Attempt([](Call& c) { c.in.key.shape[2] = c.in.value.shape[2] = 0; });
  EXPECT_EQ(out_.Values(), std::vector<double>(2 * 6 * 5 * 4));
  for (const float lse : lse_) EXPECT_EQ(lse, -std::numeric_limits<float>::infinity());
  Attempt([](Call& c) { c.out.lse = {}; });
}

}  // namespace
}  // namespace foveate
