// Mechanisms that choose keys by content, against choices and outputs of independent references.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>

#include "attention/attention.h"
#include "kernels/attention_kernels.h"
#include "mechanisms/spec.h"
#include "tests/mechanisms/golden_file.h"
#include "tests/support/isas.h"

namespace foveate {
namespace {

using nlohmann::json;
using testing::GoldenFile;

using Expected = std::function<bool(std::int64_t head, std::int64_t row, std::int64_t key)>;

class GoldenSelection : public ::testing::TestWithParam<Isa> {
 protected:
  struct Call {
    std::int64_t heads, kv_heads, rows, keys, dim;
    const float *q, *k, *v, *out;
  };

  // Of tensors that lie in one piece.
  void ExpectCall(const Call& call, const AttentionSpec& spec, const Expected& expected,
                  SelectionStates* states = nullptr) {
    const TensorRef<4> q = DenseRef(call.q, {1, call.heads, call.rows, call.dim});
    const TensorRef<4> k = DenseRef(call.k, {1, call.kv_heads, call.keys, call.dim});
    const TensorRef<4> v = DenseRef(call.v, {1, call.kv_heads, call.keys, call.dim});
    const std::vector<PatternPtr> patterns =
        SelectPatterns(context_, spec.Layer(0), *SelectFrom(context_, q, k, 0), states);
    for (std::int64_t head = 0; head < call.heads; ++head) {
      for (std::int64_t row = 0; row < call.rows; ++row) {
        for (std::int64_t key = 0; key < call.keys; ++key) {
          ASSERT_EQ(patterns[head]->Attends({call.rows, call.keys}, row, key),
                    expected(head, row, key))
              << "head " << head << " row " << row << " key " << key;
        }
      }
    }
    std::vector<float> out(call.heads * call.rows * call.dim);
    Attention(context_, {q, k, v}, {.head_patterns = patterns}, scratch_,
              {DenseRef(out.data(), {1, call.heads, call.rows, call.dim})});
    for (std::size_t i = 0; i < out.size(); ++i) ASSERT_NEAR(out[i], call.out[i], 1e-5) << i;
  }

  static Call CallOf(const json& record, const GoldenFile::Array& q, const GoldenFile::Array& k,
                     const GoldenFile::Array& v, const GoldenFile::Array& out) {
    return {record["H"],     record["Hkv"],   record.value("N", 1), record["M"],      record["D"],
            q.values.data(), k.values.data(), v.values.data(),      out.values.data()};
  }

  Context context_{{.threads = 2, .isa = GetParam()}};
  AttentionScratch scratch_;
};

TEST_P(GoldenSelection, Hip) {
  const GoldenFile file("hip");
  const auto cases = file.Cases();
  EXPECT_EQ(cases.size(), 6u);
  for (const auto& [name, record] : cases) {
    SCOPED_TRACE(name);
    json spec = GoldenFile::SpecOf(record);
    spec.erase("seed_used");
    spec["kind"] = "hip";
    const auto q = file.Floats(name + ".q"), k = file.Floats(name + ".k"),
               v = file.Floats(name + ".v"), out = file.Floats(name + ".out");
    const auto blocks = file.Integers(name + ".sel_blocks");
    const auto offsets = file.Integers(name + ".sel_offsets");
    const std::int64_t heads = record["H"], per_head = std::ssize(blocks) / heads;
    const std::int64_t entries = std::ssize(offsets) / heads,
                       before = record["M"].get<int>() - record["N"].get<int>();
    const std::int64_t block_q = record["block_q"], block_k = record["block_k"];
    const std::int64_t sink = record["sink"], window = record["window"];
    ExpectCall(CallOf(record, q, k, v, out), ParseAttentionJson(spec.dump()),
               [&](std::int64_t head, std::int64_t row, std::int64_t key) {
                 const std::int64_t position = before + row;
                 if (key > position) return false;
                 if (key < sink || position - key < window) return true;
                 const auto* begin = &blocks[head * per_head];
                 const auto* offset = &offsets[head * entries + row / block_q];
                 return std::binary_search(begin + offset[0], begin + offset[1], key / block_k);
               });
  }
}

// A choice is kept for some steps, and what left the window since then stays in sight.
TEST_P(GoldenSelection, HipDecodesWithRefresh) {
  const GoldenFile file("hip");
  const json record = file.Record("dec");
  json spec = {{"kind", "hip"}};
  for (const char* key :
       {"refresh", "mask_k", "block_q", "block_k", "stride_q", "sink", "window", "rep"}) {
    spec[key] = record[key];
  }
  const AttentionSpec parsed = ParseAttentionJson(spec.dump());
  const auto q = file.Floats("dec.q"), k = file.Floats("dec.k"), v = file.Floats("dec.v");
  const auto out = file.Floats("dec.out");
  const auto blocks = file.Integers("dec.sel_blocks");  // [refreshes, H, n]
  const std::int64_t heads = 4, steps = record["steps"], dim = 16, count = 12;
  const std::int64_t most = k.shape[1];
  SelectionStates states;
  for (std::int64_t step = 0; step < steps; ++step) {
    SCOPED_TRACE(step);
    const std::int64_t keys = record["M0"].get<std::int64_t>() + step;
    std::vector<float> rows[4];
    for (std::int64_t head = 0; head < heads; ++head) {
      const auto append = [&](std::vector<float>& to, const float* from, std::int64_t n) {
        to.insert(to.end(), from, from + n * dim);
      };
      append(rows[0], &q.values[(head * steps + step) * dim], 1);
      append(rows[3], &out.values[(head * steps + step) * dim], 1);
      if (head >= 2) continue;
      append(rows[1], &k.values[head * most * dim], keys);
      append(rows[2], &v.values[head * most * dim], keys);
    }
    const std::int64_t age = step % 4;
    ExpectCall(
        {heads, 2, 1, keys, dim, rows[0].data(), rows[1].data(), rows[2].data(), rows[3].data()},
        parsed,
        [&](std::int64_t head, std::int64_t, std::int64_t key) {
          if (key < 8 || keys - 1 - key < 24 + age) return true;
          const auto* begin = &blocks[(step / 4 * heads + head) * count];
          return std::binary_search(begin, begin + count, key / 4);
        },
        &states);
  }
}

TEST_P(GoldenSelection, Dhsa) {
  const GoldenFile file("dhsa");
  const auto cases = file.Cases();
  EXPECT_EQ(cases.size(), 6u);
  for (const auto& [name, record] : cases) {
    SCOPED_TRACE(name);
    json spec = GoldenFile::SpecOf(record);
    spec["kind"] = "dhsa";
    const auto q = file.Floats(name + ".q"), k = file.Floats(name + ".k"),
               v = file.Floats(name + ".v"), out = file.Floats(name + ".out");
    const auto chosen = file.Integers(name + ".sel"),
               offsets = file.Integers(name + ".sel_offsets");
    const std::int64_t heads = record["H"], rows = record["N"];
    const std::int64_t before = record["M"].get<std::int64_t>() - rows;
    const std::int64_t block_q = record["block_q"], sparse = rows - record["instr"].get<int>();
    const std::int64_t blocks = (sparse + block_q - 1) / block_q;
    const std::int64_t window = record.value("window", std::int64_t{1} << 40);
    const std::int64_t per_choice =
        record["share"] == "all" ? heads : heads / record["Hkv"].get<int>();
    ExpectCall(CallOf(record, q, k, v, out), ParseAttentionJson(spec.dump()),
               [&](std::int64_t head, std::int64_t row, std::int64_t key) {
                 const std::int64_t position = before + row;
                 if (key > position || position - key > window) return false;
                 if (row >= sparse) return true;
                 const auto* offset = &offsets[head / per_choice * blocks + row / block_q];
                 return std::binary_search(&chosen[offset[0]], &chosen[offset[1]], key);
               });
  }
}

TEST_P(GoldenSelection, TopKeysAndBlocks) {
  const GoldenFile file("kinetics");
  for (const std::string name : {"d00", "d01", "d02", "d03"}) {
    SCOPED_TRACE(name);
    const json record = file.Record(name);
    const auto q = file.Floats(name + ".q"), k = file.Floats(name + ".k"),
               v = file.Floats(name + ".v"), out = file.Floats(name + ".out");
    const StoredTensor* mask = file.Find(name + ".mask");
    const std::int64_t keys = record["M"];
    const AttentionSpec spec = ParseAttentionJson(GoldenFile::SpecOf(record).dump());
    const Expected expected = [&](std::int64_t head, std::int64_t, std::int64_t key) {
      return mask->bytes[head * keys + key] != std::byte{0};
    };
    ExpectCall(CallOf(record, q, k, v, out), spec, expected);
    SelectionStates states;  // pools the keys of a shorter text first
    const TensorRef<4> query = DenseRef(q.values.data(), {1, record["H"], 1, record["D"]});
    TensorRef<4> shorter = DenseRef(k.values.data(), {1, record["Hkv"], keys, record["D"]});
    shorter.shape[2] = keys - 9;
    SelectPatterns(context_, spec.Layer(0), *SelectFrom(context_, query, shorter, 0), &states);
    ExpectCall(CallOf(record, q, k, v, out), spec, expected, &states);
  }
}

INSTANTIATE_TEST_SUITE_P(Isas, GoldenSelection,
                         ::testing::ValuesIn(testing::DistinctIsas(AttentionKernelsFor)),
                         [](const auto& info) { return std::string(IsaName(info.param)); });

}  // namespace
}  // namespace foveate
