// The trained finder of borders, against logits of the paper's code and a twin in plain loops, and
// what dhsa makes of it.
#include "mechanisms/boundary_predictor.h"

#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <set>

#include "kernels/vector_ops.h"
#include "mechanisms/chunk_bounds.h"
#include "mechanisms/spec.h"
#include "tests/format/test_files.h"
#include "tests/mechanisms/golden_file.h"
#include "tests/support/isas.h"
#include "tests/support/random_values.h"

namespace foveate {
namespace {

using testing::Normal;

using testing::GoldenFile;
using Doubles = std::vector<double>;

// A predictor as its file has it.
struct Module {
  std::map<std::string, GoldenFile::Array> tensors;
  std::map<std::string, std::string> metadata;

  std::int64_t channels() const { return tensors.at("enc.norm.weight").shape[0]; }
  std::int64_t window() const { return std::stoll(metadata.at("w")); }
  std::int64_t heads() const { return std::stoll(metadata.at("heads")); }

  void Write(const std::string& path) const {
    std::vector<StoredTensor> stored;
    for (const auto& [name, array] : tensors) {
      stored.push_back(
          {name, TensorType::kF32, array.shape, std::as_bytes(std::span(array.values))});
    }
    WriteSafetensors(path, stored, metadata);
  }
};

struct Sizes {
  std::int64_t channels, window, heads, units;
  bool gated;
};

Module RandomModule(const Sizes& sizes, std::mt19937& random) {
  Module module;
  module.metadata = {{"w", std::to_string(sizes.window)}, {"heads", std::to_string(sizes.heads)}};
  const auto add = [&](const std::string& name, std::vector<std::int64_t> shape) {
    std::int64_t count = 1;
    for (const std::int64_t extent : shape) count *= extent;
    std::normal_distribution<float> normal(0, 1 / std::sqrt(static_cast<float>(shape.back())));
    GoldenFile::Array& array = module.tensors[name] = {shape, std::vector<float>(count)};
    for (float& value : array.values) value = normal(random);
  };
  const std::int64_t c = sizes.channels;
  add("enc.mha.in_proj_weight", {3 * c, c});
  add("enc.mha.in_proj_bias", {3 * c});
  add("enc.mha.out_proj.weight", {c, c});
  add("enc.mha.out_proj.bias", {c});
  add("enc.norm.weight", {c});
  add("enc.norm.bias", {c});
  if (sizes.gated) add("pool.gate.weight", {1, c});
  add("mlp.0.weight", {sizes.units, 4 * c + 1});
  add("mlp.0.bias", {sizes.units});
  add("mlp.2.weight", {1, sizes.units});
  add("mlp.2.bias", {1});
  return module;
}

// The definition once more.
class Twin {
 public:
  explicit Twin(const Module& module) : module_(module) {}

  // Of a cut behind key t of keys [L][C].
  double Logit(const std::vector<float>& keys, std::int64_t t) const {
    const std::int64_t w = module_.window(), c = module_.channels();
    std::vector<Doubles> tokens;
    for (std::int64_t key = t - w + 1; key <= t + w; ++key) {
      const bool inside = 0 <= key && key < std::ssize(keys) / c;
      tokens.push_back(inside ? Doubles(&keys[key * c], &keys[key * c] + c) : Doubles(c));
    }
    const std::vector<Doubles> encoded = Encoded(tokens);
    const Doubles left = Pooled({encoded.begin(), encoded.begin() + w});
    const Doubles right = Pooled({encoded.begin() + w, encoded.end()});
    Doubles features = left;
    features.insert(features.end(), right.begin(), right.end());
    for (std::int64_t i = 0; i < c; ++i) features.push_back(std::abs(left[i] - right[i]));
    for (std::int64_t i = 0; i < c; ++i) features.push_back(left[i] * right[i]);
    features.push_back(Dot(left, right) / std::max(1e-6, std::sqrt(Dot(left, left))) /
                       std::max(1e-6, std::sqrt(Dot(right, right))));
    Doubles hidden = Linear("mlp.0.weight", "mlp.0.bias", features);
    for (double& unit : hidden) unit = std::max(unit, 0.0);
    return Linear("mlp.2.weight", "mlp.2.bias", hidden)[0];
  }

 private:
  const std::vector<float>& Values(const std::string& name) const {
    return module_.tensors.at(name).values;
  }

  static double Dot(const Doubles& a, const Doubles& b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
    return sum;
  }

  static void Softmax(Doubles& values) {
    const double most = *std::max_element(values.begin(), values.end());
    double sum = 0;
    for (double& value : values) sum += value = std::exp(value - most);
    for (double& value : values) value /= sum;
  }

  Doubles Linear(const std::string& weight, const std::string& bias, const Doubles& x) const {
    const std::vector<float>& w = Values(weight);
    Doubles y(Values(bias).begin(), Values(bias).end());
    for (std::size_t i = 0; i < w.size(); ++i) y[i / x.size()] += w[i] * x[i % x.size()];
    return y;
  }

  std::vector<Doubles> Encoded(const std::vector<Doubles>& tokens) const {
    const std::int64_t c = module_.channels(), dim = c / module_.heads();
    std::vector<Doubles> projected, encoded;
    for (const Doubles& token : tokens) {
      projected.push_back(Linear("enc.mha.in_proj_weight", "enc.mha.in_proj_bias", token));
    }
    for (const Doubles& query : projected) {
      Doubles attended(c);
      for (std::int64_t first = 0; first < c; first += dim) {
        Doubles weights;
        for (const Doubles& key : projected) {
          double score = 0;
          for (std::int64_t d = first; d < first + dim; ++d) score += query[d] * key[c + d];
          weights.push_back(score / std::sqrt(dim));
        }
        Softmax(weights);
        for (std::size_t j = 0; j < projected.size(); ++j) {
          for (std::int64_t d = first; d < first + dim; ++d) {
            attended[d] += weights[j] * projected[j][2 * c + d];
          }
        }
      }
      encoded.push_back(
          Normed(Linear("enc.mha.out_proj.weight", "enc.mha.out_proj.bias", attended)));
    }
    return encoded;
  }

  Doubles Normed(Doubles x) const {
    const auto n = static_cast<double>(x.size());
    double mean = 0, variance = 0;
    for (const double value : x) mean += value / n;
    for (const double value : x) variance += (value - mean) * (value - mean) / n;
    for (std::size_t i = 0; i < x.size(); ++i) {
      x[i] = (x[i] - mean) / std::sqrt(variance + 1e-5) * Values("enc.norm.weight")[i] +
             Values("enc.norm.bias")[i];
    }
    return x;
  }

  Doubles Pooled(const std::vector<Doubles>& tokens) const {
    Doubles weights(tokens.size());
    if (module_.tensors.contains("pool.gate.weight")) {
      const std::vector<float>& gate = Values("pool.gate.weight");
      for (std::size_t i = 0; i < tokens.size(); ++i) {
        weights[i] = Dot(Doubles(gate.begin(), gate.end()), tokens[i]);
      }
    }
    Softmax(weights);
    Doubles pooled(module_.channels());
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      for (std::size_t d = 0; d < pooled.size(); ++d) pooled[d] += weights[i] * tokens[i][d];
    }
    return pooled;
  }

  const Module& module_;
};

class BoundaryPredictorTest : public ::testing::Test {
 protected:
  BoundaryPredictor Written(const Module& module) const {
    module.Write(path_);
    return BoundaryPredictor(SafetensorsFile::Open(path_));
  }

  TempFolder folder_;
  const std::string path_ = folder_ / "predictor.safetensors";
};

class BoundaryPredictorIsa : public BoundaryPredictorTest,
                             public ::testing::WithParamInterface<Isa> {
 protected:
  std::vector<float> Logits(const BoundaryPredictor& predictor, const std::vector<float>& keys,
                            std::int64_t channels, int threads = 2) const {
    Context context({.threads = threads, .isa = GetParam()});
    return predictor.Logits(context, MakeView(keys.data(), std::ssize(keys) / channels, channels));
  }
};

TEST_P(BoundaryPredictorIsa, GivesTheLogitsOfThePapersCode) {
  const GoldenFile golden("dhsa");
  for (const std::string name : {"p0", "p1"}) {
    SCOPED_TRACE(name);
    const nlohmann::json record = golden.Record(name);
    Module module;
    module.metadata = {{"w", record["w"].dump()}, {"heads", record["heads"].dump()}};
    for (const char* tensor :
         {"enc.mha.in_proj_weight", "enc.mha.in_proj_bias", "enc.mha.out_proj.weight",
          "enc.mha.out_proj.bias", "enc.norm.weight", "enc.norm.bias", "mlp.0.weight", "mlp.0.bias",
          "mlp.2.weight", "mlp.2.bias", "pool.gate.weight"}) {
      const std::string stored = name + ".w." + tensor;
      if (golden.Find(stored) != nullptr) module.tensors[tensor] = golden.Floats(stored);
    }
    EXPECT_EQ(module.tensors.contains("pool.gate.weight"), record["pool"].get<bool>());
    const auto x = golden.Floats(name + ".x"), expected = golden.Floats(name + ".logits");
    const std::int64_t channels = record["C"], length = record["L"];
    std::vector<float> keys(x.values.size());
    for (std::size_t i = 0; i < keys.size(); ++i) {
      keys[i] = x.values[i % channels * length + i / channels];
    }
    const std::vector<float> logits = Logits(Written(module), keys, channels);
    ASSERT_EQ(std::ssize(logits), length);
    for (std::int64_t t = 0; t < length; ++t) EXPECT_NEAR(logits[t], expected.values[t], 1e-4);
  }
}

TEST_P(BoundaryPredictorIsa, AgreesWithItsDefinition) {
  std::mt19937 random(21);
  const auto draw = [&](std::int64_t least, std::int64_t most) {
    return std::uniform_int_distribution<std::int64_t>(least, most)(random);
  };
  for (int round = 0; round < 30; ++round) {
    const std::int64_t heads = draw(1, 4);
    const Sizes sizes{heads * draw(2, 9), draw(1, 6), heads, draw(1, 20), draw(0, 1) == 1};
    // The last has more windows than are in memory at a time.
    const std::int64_t length = round < 29 ? draw(0, 40) : 1100 / sizes.window;
    SCOPED_TRACE(fmt::format("C {} w {} heads {} d {} L {}", sizes.channels, sizes.window, heads,
                             sizes.units, length));
    const Module module = RandomModule(sizes, random);
    const BoundaryPredictor predictor = Written(module);
    const std::vector<float> keys = Normal(length * sizes.channels, random);
    const std::vector<float> logits = Logits(predictor, keys, sizes.channels);
    ASSERT_EQ(std::ssize(logits), length);
    for (std::int64_t t = 0; t < length; ++t) {
      ASSERT_NEAR(logits[t], Twin(module).Logit(keys, t), 1e-4) << t;
    }
    EXPECT_EQ(Logits(predictor, keys, sizes.channels, 1), logits);
  }
}

INSTANTIATE_TEST_SUITE_P(Isas, BoundaryPredictorIsa,
                         ::testing::ValuesIn(testing::DistinctIsas(VectorOpsFor)),
                         [](const auto& info) { return std::string(IsaName(info.param)); });

TEST_F(BoundaryPredictorTest, DamagedFilesAreRefusedByTensor) {
  std::mt19937 random(22);
  const Module good = RandomModule({6, 2, 3, 5, true}, random);
  const auto expect = [&](const std::string& part, const std::function<void(Module&)>& damage) {
    Module module = good;
    damage(module);
    ExpectError(ErrorCode::kCorruptFile, [&] { Written(module); }, path_, part);
  };
  Written(good);
  for (const auto& [name, array] : good.tensors) {
    const std::string& removed = name;
    if (name != "pool.gate.weight") {
      expect("has no tensor '" + name + "'", [&](Module& m) { m.tensors.erase(removed); });
    }
    // What every shape is held against is found from these two.
    if (name == "enc.norm.weight" || name == "mlp.0.bias") continue;
    expect("tensor " + name + " has shape [3, 1], expected [",
           [&](Module& m) { m.tensors[removed] = {{3, 1}, std::vector<float>(3)}; });
  }
  expect("tensor enc.mha.in_proj_weight has shape [18, 6], expected [15, 5]", [](Module& m) {
    m.tensors["enc.norm.weight"] = {{5}, std::vector<float>(5)};
    m.metadata["heads"] = "1";
  });
  expect("metadata heads is 4, expected a divisor of 6 channels",
         [](Module& m) { m.metadata["heads"] = "4"; });
  expect("metadata heads is '7', expected an integer from 1 to 6",
         [](Module& m) { m.metadata["heads"] = "7"; });
  expect("metadata w is '0', expected", [](Module& m) { m.metadata["w"] = "0"; });
  expect("metadata w is '2.5', expected", [](Module& m) { m.metadata["w"] = "2.5"; });
  expect("has no metadata 'w', expected", [](Module& m) { m.metadata.erase("w"); });
}

class DhsaPredictor : public BoundaryPredictorTest {
 protected:
  static constexpr std::int64_t kHeads = 4, kKvHeads = 2, kDim = 8, kChannels = kKvHeads * kDim;
  static constexpr std::int64_t kKeys = 200, kWindow = 3;

  DhsaPredictor() {
    Module module = RandomModule({kChannels, kWindow, 4, 12, true}, random_);
    predictor_ = std::make_unique<BoundaryPredictor>(Written(module));
    // So that a tenth of the cuts are worth more than what is asked for when nothing is said.
    std::vector<float> logits = Logits(kKeys);
    std::nth_element(logits.begin(), logits.begin() + kKeys * 9 / 10, logits.end());
    module.tensors["mlp.2.bias"].values[0] += 1.1f - logits[kKeys * 9 / 10];
    predictor_ = std::make_unique<BoundaryPredictor>(Written(module));
  }

  // Of the first keys, those of all heads end to end.
  std::vector<float> Logits(std::int64_t keys) {
    std::vector<float> rows;
    for (std::int64_t key = 0; key < keys; ++key) {
      for (std::int64_t head = 0; head < kKvHeads; ++head) {
        const float* from = &keys_[(head * kKeys + key) * kDim];
        rows.insert(rows.end(), from, from + kDim);
      }
    }
    return predictor_->Logits(context_, MakeView<const float>(rows.data(), keys, kChannels));
  }

  // What cuts after the keys of a range of so many are worth.
  Doubles Scores(Range range, std::int64_t keys) {
    const std::vector<float> logits = Logits(keys);
    Doubles scores(logits.begin() + range.begin, logits.begin() + range.end);
    for (std::int64_t t = range.begin; t < range.end; ++t) {
      if (t < kWindow - 1 || t >= keys - kWindow) {
        scores[t - range.begin] = std::numeric_limits<double>::quiet_NaN();
      }
    }
    return scores;
  }

  // The last rows of so many keys.
  std::vector<PatternPtr> Select(const AttentionSpec& spec, const AttentionShape& shape,
                                 SelectionStates* states = nullptr) {
    TensorRef<4> q = DenseRef(queries_.data(), {1, kHeads, kKeys, kDim});
    TensorRef<4> k = DenseRef(keys_.data(), {1, kKvHeads, kKeys, kDim});
    q.shape[2] = shape.queries;
    k.shape[2] = shape.keys;
    return SelectPatterns(context_, spec.Layer(0), *SelectFrom(context_, q, k, 0), states);
  }

  std::string Spec(const std::string& rest) const {
    return "dhsa:bounds=predictor,predictor=" + path_ + "," + rest;
  }

  static void ExpectSame(const std::vector<PatternPtr>& actual,
                         const std::vector<PatternPtr>& expected, const AttentionShape& shape) {
    for (std::int64_t head = 0; head < kHeads; ++head) {
      for (std::int64_t row = 0; row < shape.queries; ++row) {
        for (std::int64_t key = 0; key < shape.keys; ++key) {
          ASSERT_EQ(actual[head]->Attends(shape, row, key),
                    expected[head]->Attends(shape, row, key))
              << "head " << head << " row " << row << " key " << key;
        }
      }
    }
  }

  // What dhsa does with borders that are given.
  AttentionSpec Given(const std::vector<std::int64_t>& bounds, const std::string& rest) const {
    return ParseAttentionSpec(fmt::format("dhsa:bounds={},{}", fmt::join(bounds, "/"), rest));
  }

  std::mt19937 random_{23};
  std::vector<float> keys_ = Normal(kChannels * kKeys, random_);
  std::vector<float> queries_ = Normal(kHeads * kKeys * kDim, random_);
  Context context_{{.threads = 2}};
  std::unique_ptr<BoundaryPredictor> predictor_;
};

TEST_F(DhsaPredictor, SeesEverythingWithinItsBudget) {
  const AttentionShape shape{kKeys, kKeys};
  const auto patterns = Select(ParseAttentionSpec(Spec("budget=200,instr=0")), shape);
  ExpectSame(patterns, std::vector(kHeads, ParseAttentionSpec("causal").At(0, 0).pattern), shape);
}

TEST_F(DhsaPredictor, CutsWhereTheLogitsSay) {
  const AttentionShape shape{kKeys, kKeys};
  const std::string rest = "budget=40,block_q=16,local=8,global=4,instr=20";
  std::set<std::vector<std::int64_t>> all;
  for (const auto& [theta, least] :
       {std::pair{"", 1.1}, {",theta=-5", -5.0}, {",theta=1.15", 1.15}}) {
    SCOPED_TRACE(theta);
    const auto bounds = PickBounds(Scores({0, kKeys}, kKeys),
                                   {.most = kKeys / 12, .least = least, .instructions = 20});
    EXPECT_GT(bounds.size(), 4u);
    EXPECT_TRUE(all.insert(bounds).second) << "theta makes no difference";
    ExpectSame(Select(ParseAttentionSpec(Spec(rest + theta)), shape),
               Select(Given(bounds, rest), shape), shape);
  }
}

// A prompt in parts is cut part by part.
TEST_F(DhsaPredictor, PartsAreCutFromTheLastBorderOn) {
  const std::string rest = "budget=40,block_q=16,local=8,global=4,instr=0";
  const std::int64_t part = 130;
  auto bounds = PickBounds(Scores({0, part}, part), {.most = part / 12, .least = 1.1});
  bounds.pop_back();
  const std::int64_t first = bounds.back(), cuts = std::ssize(bounds) - 1;
  for (const std::int64_t bound :
       PickBounds(Scores({first, kKeys}, kKeys), {.most = kKeys / 12 - cuts, .least = 1.1})) {
    if (bound > 0) bounds.push_back(first + bound);
  }
  EXPECT_GT(bounds.size(), 10u);
  SelectionStates states;
  const AttentionSpec spec = ParseAttentionSpec(Spec(rest));
  Select(spec, {part, part}, &states);
  const AttentionShape shape{kKeys - part, kKeys};
  ExpectSame(Select(spec, shape, &states), Select(Given(bounds, rest), shape), shape);
}

TEST_F(DhsaPredictor, ReadsItsFileWhenTheSpecIsMade) {
  const std::string text = Spec("budget=200");
  const AttentionSpec spec = ParseAttentionSpec(text);
  EXPECT_EQ(ToText(ParseAttentionSpec(ToJson(spec))), ToText(spec));
  EXPECT_EQ(ToText(ParseAttentionSpec(ToText(spec))), ToText(spec));
  EXPECT_EQ(ToText(spec, SpecDetail::kShort),
            "dhsa:budget=200,bounds=predictor,predictor=" + path_);
  EXPECT_EQ(ParseSpecList("full," + text + ",causal").size(), 3u);
  std::filesystem::remove(path_);
  EXPECT_EQ(Select(spec, {kKeys, kKeys}).size(), static_cast<std::size_t>(kHeads));
  ExpectError(ErrorCode::kNotFound, [&] { ParseAttentionSpec(text); }, path_);
}

TEST_F(DhsaPredictor, RefusesWhatDoesNotFit) {
  const auto expect = [](const std::string& spec, const auto&... parts) {
    ExpectError(ErrorCode::kInvalidArgument, [&] { ParseAttentionSpec(spec); }, parts...);
  };
  expect("dhsa:bounds=predictor", "bounds=predictor needs predictor=FILE");
  expect("dhsa:predictor=" + path_, "predictor=" + path_ + " needs bounds=predictor");
  expect("dhsa:bounds=0/9,predictor=" + path_, "needs bounds=predictor");
  expect("dhsa:bounds=predictor,predictor=a=b", "predictor=a=b", "a path without , ; & | ( )");
  for (const char* path : {"", "none", " a", "a,b", "a(b", "a\\\"b", "a\\n"}) {
    expect(fmt::format(R"({{"kind": "dhsa", "bounds": "predictor", "predictor": "{}"}})", path),
           "dhsa: predictor=", "a path without");
  }
  ExpectError(
      ErrorCode::kInvalidArgument,
      [&] { ParseAttentionSpec(Spec("budget=200"), SpecFiles::kRefused); }, "not read here", path_);
  keys_.resize(keys_.size() * 2);
  const TensorRef<4> k = DenseRef(keys_.data(), {1, kKvHeads * 2, kKeys, kDim});
  const AttentionSpec spec = ParseAttentionSpec(Spec("budget=200"));
  ExpectError(
      ErrorCode::kInvalidArgument,
      [&] { SelectPatterns(context_, spec.Layer(0), *SelectFrom(context_, k, k, 0)); }, path_,
      "keys of 16 channels", "have 32");
}

}  // namespace
}  // namespace foveate
