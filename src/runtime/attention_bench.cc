#include "runtime/attention_bench.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <memory>
#include <random>
#include <stdexcept>

#include "attention/attention.h"
#include "base/checked.h"
#include "base/half.h"
#include "base/stopwatch.h"
#include "base/throw.h"
#include "format/quant.h"
#include "kernels/machine_limits.h"
#include "runtime/backward_bench.h"

namespace foveate {
namespace {

constexpr std::int64_t kSampledRows = 16;

struct Shape {
  HeadCounts heads;
  std::int64_t queries, keys, dim;
  ElementType type;
  std::optional<KvTypes> kv;
};

// Values that are exact in `type`, so that the reference reads what the operator reads.
std::vector<float> RandomValues(std::int64_t count, ElementType type, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> block(std::min<std::int64_t>(count, 1 << 16));
  for (float& value : block) {
    value = normal(random);
    if (type == ElementType::kF16) value = ToFloat(ToHalf(value));
    if (type == ElementType::kBF16) value = ToFloat(ToBFloat16(value));
  }
  std::vector<float> values(count);
  // A prime shift for each block: repetition that no cache and no softmax notices.
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t size = std::ssize(block);
    values[i] = block[(i + i / size * 7919) % size];
  }
  return values;
}

std::vector<std::byte> Stored(const std::vector<float>& values, ElementType type) {
  std::vector<std::byte> bytes(values.size() * ElementBytes(type));
  for (std::size_t i = 0; i < values.size(); ++i) {
    WriteElement(values[i], bytes.data() + i * ElementBytes(type), type);
  }
  return bytes;
}

// What a cache of `type` gives back for rows of `dim` values.
void RoundTrip(KvType type, std::int64_t dim, std::vector<float>& values) {
  const TensorType stored = type == KvType::kF32    ? TensorType::kF32
                            : type == KvType::kF16  ? TensorType::kF16
                            : type == KvType::kBF16 ? TensorType::kBF16
                            : type == KvType::kQ8_0 ? TensorType::kQ8_0
                                                    : TensorType::kQ4_0;
  std::vector<std::byte> bytes(dim * sizeof(float));
  for (std::size_t first = 0; first < values.size(); first += dim) {
    const std::span<float> row(&values[first], dim);
    QuantizeRow(stored, row, bytes.data());
    DequantizeRow(stored, bytes.data(), row);
  }
}

struct Chosen {
  std::vector<PatternPtr> patterns;  // of every head
  std::int64_t products = 0;
};

// The tensors of one shape: queries [H, N, D], keys and values [Hkv, M, D].
class Data {
 public:
  Data(Context& context, const Shape& shape, bool backward)
      : shape_(shape),
        queries_(RandomValues(shape.heads.heads * shape.queries * shape.dim, shape.type, 1)),
        keys_(RandomValues(shape.heads.kv_heads * shape.keys * shape.dim, shape.type, 2)),
        values_(RandomValues(shape.heads.kv_heads * shape.keys * shape.dim, shape.type, 3)),
        out_(queries_.size()),
        lse_(shape.heads.heads * shape.queries) {
    if (shape.kv) {
      FillCache(context, *shape.kv);
      RoundTrip(shape.kv->key, shape.dim, keys_);
      RoundTrip(shape.kv->value, shape.dim, values_);
    } else {
      stored_queries_ = Stored(queries_, shape.type);
      stored_keys_ = Stored(keys_, shape.type);
      stored_values_ = Stored(values_, shape.type);
      stored_out_.resize(stored_queries_.size());
      if (backward) backward_.emplace(inputs());
    }
  }

  void Run(Context& context, const AttentionOptions& options, AttentionScratch& scratch) {
    const auto [heads, n, d] = std::array{shape_.heads.heads, shape_.queries, shape_.dim};
    if (cache_) {
      const View<const float, 3> queries{queries_.data(), {n, heads, d}, {d, n * d, 1}};
      const View<float, 3> out{out_.data(), {n, heads, d}, {d, n * d, 1}};
      return Attend(context, *cache_, queries, options, scratch, out);
    }
    Attention(context, inputs(), options, scratch,
              {Ref(stored_out_.data(), heads, n), MakeView(lse_.data(), 1, heads, n)});
  }

  // What mechanisms that choose keys by content choose. A decoded token finds what was kept for it,
  // such as pooled keys.
  Chosen Select(Context& context, const LayerAttention& layer, SelectionStates& states) const {
    const auto [heads, n, d] = std::array{shape_.heads.heads, shape_.queries, shape_.dim};
    const View<const float, 3> queries{queries_.data(), {n, heads, d}, {d, n * d, 1}};
    const AttentionInputs tensors = inputs();
    const auto in = cache_ ? SelectFrom(context, *cache_, queries)
                           : SelectFrom(context, tensors.query, tensors.key, 0);
    Chosen chosen{SelectPatterns(context, layer, *in, &states), 0};
    chosen.products = in->products;
    return chosen;
  }

  void RunBackward(Context& context, const AttentionOptions& options, AttentionScratch& scratch) {
    backward_->Run(context, inputs(), out(), lse(), options, scratch);
  }
  double BackwardError(const std::vector<PatternPtr>& patterns) const {
    return backward_->Error(inputs(), out(), lse(), patterns);
  }

  // The largest error of sampled rows against float64, as a share of the rounding bound
  // 8 * 2^-24 * (1 + S) * max |v|, S the largest scale * sum |q k| of the row, and of the rounding
  // of the output's own type.
  double Error(const std::vector<PatternPtr>& patterns) const {
    double worst = 0;
    for (std::int64_t i = 0; i < kSampledRows; ++i) {
      const std::int64_t head = i * shape_.heads.heads / kSampledRows;
      const std::int64_t row = (i * 7919 + shape_.queries - 1) % shape_.queries;
      worst = std::max(worst, RowError(*patterns[head], head, row));
    }
    return worst;
  }

  std::int64_t KvBytes() const {
    return cache_ ? cache_->bytes()
                  : static_cast<std::int64_t>(stored_keys_.size() + stored_values_.size());
  }

 private:
  template <typename Byte>
  BasicTensorRef<Byte, 4> Ref(Byte* data, std::int64_t heads, std::int64_t rows) const {
    const std::array<std::int64_t, 4> shape{1, heads, rows, shape_.dim};
    return {data, shape_.type, shape, DenseStrides(shape)};
  }
  AttentionInputs inputs() const {
    return {Ref(stored_queries_.data(), shape_.heads.heads, shape_.queries),
            Ref(stored_keys_.data(), shape_.heads.kv_heads, shape_.keys),
            Ref(stored_values_.data(), shape_.heads.kv_heads, shape_.keys)};
  }
  TensorRef<4> out() const { return Ref(stored_out_.data(), shape_.heads.heads, shape_.queries); }
  View<const float, 3> lse() const {
    return MakeView(lse_.data(), 1, shape_.heads.heads, shape_.queries);
  }

  void FillCache(Context& context, const KvTypes& types) {
    const auto [hkv, m, d] = std::array{shape_.heads.kv_heads, shape_.keys, shape_.dim};
    cache_ = std::make_unique<KvCache>(KvCacheOptions{.kv_heads = hkv,
                                                      .key_dim = d,
                                                      .value_dim = d,
                                                      .capacity = m,
                                                      .key_type = types.key,
                                                      .value_type = types.value});
    const View<const float, 3> keys{keys_.data(), {m, hkv, d}, {d, m * d, 1}};
    const View<const float, 3> values{values_.data(), {m, hkv, d}, {d, m * d, 1}};
    cache_->Append(context, keys, values);
  }

  float OutAt(std::int64_t index) const {
    if (cache_) return out_[index];
    return ReadElement(stored_out_.data() + index * ElementBytes(shape_.type), shape_.type);
  }

  double RowError(const Pattern& pattern, std::int64_t head, std::int64_t row) const {
    const AttentionShape shape{shape_.queries, shape_.keys};
    const std::int64_t d = shape_.dim;
    const std::int64_t kv = head / (shape_.heads.heads / shape_.heads.kv_heads);
    const float* q = &queries_[(head * shape_.queries + row) * d];
    const double scale = 1 / std::sqrt(static_cast<double>(d));
    std::vector<double> scores(shape_.keys, -INFINITY);
    double largest = -INFINITY, magnitude = 0, value = 0, sum = 0;
    for (std::int64_t j = 0; j < shape_.keys; ++j) {
      if (!pattern.Attends(shape, row, j)) continue;
      const float* k = &keys_[(kv * shape_.keys + j) * d];
      double dot = 0, absolute = 0;
      for (std::int64_t i = 0; i < d; ++i) {
        dot += double{q[i]} * k[i];
        absolute += std::abs(double{q[i]} * k[i]);
      }
      scores[j] = dot * scale;
      largest = std::max(largest, scores[j]);
      magnitude = std::max(magnitude, absolute * scale);
    }
    std::vector<double> out(d, 0.0);
    for (std::int64_t j = 0; j < shape_.keys; ++j) {
      if (std::isinf(scores[j])) continue;
      const double p = std::exp(scores[j] - largest);
      sum += p;
      for (std::int64_t i = 0; i < d; ++i) {
        const double v = values_[(kv * shape_.keys + j) * d + i];
        out[i] += p * v;
        value = std::max(value, std::abs(v));
      }
    }
    const double half_ulp = cache_ || shape_.type == ElementType::kF32 ? 0
                            : shape_.type == ElementType::kF16         ? 0x1p-11
                                                                       : 0x1p-8;
    double worst = 0;
    for (std::int64_t i = 0; i < d; ++i) {
      const double expected = sum > 0 ? out[i] / sum : 0.0;
      const double bound =
          8 * 0x1p-24 * (1 + magnitude) * value + half_ulp * std::abs(expected) + 0x1p-25;
      const double error =
          std::abs(OutAt((head * shape_.queries + row) * d + i) - expected) / bound;
      if (!(error <= worst)) worst = error;
    }
    return worst;
  }

  Shape shape_;
  std::vector<float> queries_, keys_, values_;
  std::vector<float> out_, lse_;
  std::vector<std::byte> stored_queries_, stored_keys_, stored_values_, stored_out_;
  std::unique_ptr<KvCache> cache_;
  std::optional<BackwardBench> backward_;
};

// One mechanism at one shape.
struct Candidate {
  const LayerAttention* selection = nullptr;  // of one that chooses keys by content, every time
  SelectionStates states = {};
  AttentionOptions options;
  std::vector<PatternPtr> patterns;  // of every head
  AttentionBenchRow row;
  std::optional<AttentionBenchRow> backward;
};

double Seconds(const std::function<void()>& work) {
  const Stopwatch watch;
  work();
  return watch.Seconds();
}

double CountPairs(const Schedule& schedule) {
  double pairs = 0;
  for (const ScheduleItem& item : schedule.items()) {
    for (const TileRun& run : schedule.runs(item)) {
      if (!run.partial) {
        pairs += static_cast<double>(item.rows.size() * (run.end - run.begin) * kTileKeys);
        continue;
      }
      for (std::int64_t tile = run.begin; tile < run.end; ++tile) {
        for (std::int64_t row = item.rows.begin; row < item.rows.end; ++row) {
          pairs += __builtin_popcountll(
              schedule.pattern().Bits(schedule.shape(), row, tile * kTileKeys));
        }
      }
    }
  }
  return pairs;
}

// Tiles and pairs of a head: of the first where patterns do not look at keys, else on average.
void CountWork(const Candidate& candidate, const AttentionShape& shape, AttentionBenchRow& row) {
  const std::size_t heads = candidate.selection == nullptr ? 1 : candidate.patterns.size();
  for (std::size_t head = 0; head < heads; ++head) {
    Schedule schedule;
    row.schedule_seconds +=
        Seconds([&] { schedule = OrderedSchedule(candidate.patterns[head], shape); });
    row.tiles += static_cast<double>(schedule.full_tiles() + schedule.partial_tiles());
    row.pairs += CountPairs(schedule);
  }
  row.tiles /= static_cast<double>(heads);
  row.pairs /= static_cast<double>(heads);
}

Candidate MakeCandidate(Context& context, const AttentionSpec& spec, const Shape& shape,
                        const Data& data, bool backward) {
  Candidate made;
  if (HasSelector(spec.Layer(0))) {
    made.selection = &spec.Layer(0);
    made.patterns = data.Select(context, *made.selection, made.states).patterns;
  } else {
    made.patterns = HeadPatterns(spec, 0, shape.heads.heads);
  }
  made.options.head_patterns = made.patterns;
  const AttentionShape sizes{shape.queries, shape.keys};
  made.row = {.mechanism = ToText(spec),
              .heads = shape.heads,
              .queries = shape.queries,
              .keys = shape.keys,
              .dim = shape.dim,
              .type = ElementTypeName(shape.type),
              .kv = shape.kv ? KvTypesName(*shape.kv) : "",
              .dense_tiles = static_cast<double>(DivideUp(shape.queries, kTileKeys) *
                                                 DivideUp(shape.keys, kTileKeys)),
              .bytes = data.KvBytes()};
  CountWork(made, sizes, made.row);
  if (backward) {
    made.backward = made.row;
    made.backward->backward = true;
  }
  return made;
}

class AttentionBench {
 public:
  AttentionBench(Context& context, const AttentionBenchOptions& options)
      : context_(context), options_(options) {}

  // Shapes that differ in their heads only, all in the same rounds.
  void Measure(const std::vector<Shape>& shapes, std::vector<AttentionBenchRow>& rows) {
    std::vector<Case> cases;
    for (const Shape& shape : shapes) {
      Case& made = cases.emplace_back(Case{Data(context_, shape, options_.backward), {}, {}});
      for (const AttentionSpec& spec : options_.mechanisms) {
        made.candidates.push_back(
            MakeCandidate(context_, spec, shape, made.data, options_.backward));
      }
      // A plain sum over as many bytes as the keys and values take is the limit of few rows.
      if (FewRows(shape))
        made.plain.assign(RoundUp(made.data.KvBytes() / 4, std::int64_t{1} << 16), 1.0f);
    }
    for (int round = -1; round < options_.repetitions; ++round) {
      for (Case& at : cases) MeasureRound(at, round);
    }
    for (Case& at : cases) {
      for (Candidate& candidate : at.candidates) {
        rows.push_back(std::move(candidate.row));
        if (candidate.backward) rows.push_back(std::move(*candidate.backward));
      }
    }
  }

 private:
  struct Case {
    Data data;
    std::vector<Candidate> candidates;
    std::vector<float> plain;
  };

  static bool FewRows(const Shape& shape) { return shape.queries <= 16; }

  void MeasureRound(Case& at, int round) {
    const bool few_rows = !at.plain.empty();
    double dense = 0;
    for (Candidate& candidate : at.candidates) {
      Say(candidate.row, round);
      const double limit = few_rows ? MeasureReading(context_, at.plain) : MeasureFma(context_);
      double selection = 0;
      if (candidate.selection != nullptr) {
        selection = Seconds([&] {
          Chosen chosen = at.data.Select(context_, *candidate.selection, candidate.states);
          candidate.options.head_patterns = std::move(chosen.patterns);
          candidate.row.selection_products = static_cast<double>(chosen.products);
        });
      }
      const double seconds =
          selection + Seconds([&] { at.data.Run(context_, candidate.options, scratch_); });
      if (round < 0) {
        candidate.row.error = at.data.Error(candidate.patterns);
        CheckResult(candidate.row);
      } else {
        Note(candidate.row, seconds, limit, few_rows, dense);
        if (selection > 0) candidate.row.share_of_selection.push_back(selection / seconds);
      }
      if (candidate.backward) MeasureBackward(at.data, candidate, round, seconds, limit);
    }
  }

  void MeasureBackward(Data& data, Candidate& candidate, int round, double forward, double limit) {
    AttentionBenchRow& row = *candidate.backward;
    const double seconds =
        Seconds([&] { data.RunBackward(context_, candidate.options, scratch_); });
    if (round < 0) {
      row.error = data.BackwardError(candidate.patterns);
      return CheckResult(row);
    }
    row.seconds.push_back(seconds);
    row.share_of_fma.push_back(row.work() / seconds * 1e-9 / limit);
    row.over_forward.push_back(seconds / forward);
  }

  void Say(const AttentionBenchRow& row, int round) const {
    if (!options_.on_step) return;
    options_.on_step(fmt::format("{}, {} heads, {} keys, {}/{}", row.mechanism, row.heads.name,
                                 row.keys, std::max(round, 0), options_.repetitions));
  }

  static void CheckResult(const AttentionBenchRow& row) {
    if (row.error <= 1) return;
    throw std::logic_error(
        fmt::format("{} with {} heads, {} keys: {}{:.2f} times the rounding bound", row.mechanism,
                    row.heads.name, row.keys, row.backward ? "gradients " : "", row.error));
  }

  static void Note(AttentionBenchRow& row, double seconds, double limit, bool few_rows,
                   double& dense) {
    row.seconds.push_back(seconds);
    if (few_rows) {
      row.share_of_reading.push_back(static_cast<double>(row.bytes) / seconds * 1e-9 / limit);
    } else {
      row.share_of_fma.push_back(row.work() / seconds * 1e-9 / limit);
    }
    if (row.tiles == row.dense_tiles && dense == 0) {
      dense = seconds;
    } else if (dense > 0) {
      row.speedup.push_back(dense / seconds);
    }
  }

  Context& context_;
  const AttentionBenchOptions& options_;
  AttentionScratch scratch_;
};

std::int64_t HeadCount(std::string_view digits, const std::string& text) {
  std::int64_t count = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), count);
  if (error != std::errc() || end != digits.data() + digits.size() || count < 1 || count > 65536) {
    Throw(ErrorCode::kInvalidArgument,
          "heads '{}': expected QUERY/KV such as 8/2, or mha, gqa, mqa, sqa, ssqa, xsqa", text);
  }
  return count;
}

}  // namespace

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

double AttentionBenchRow::work() const {
  return (backward ? 10 : 4) * pairs * static_cast<double>(heads.heads * dim);
}
double AttentionBenchRow::gflops() const { return work() / Median(seconds) * 1e-9; }

HeadCounts ParseHeadCounts(const std::string& text) {
  static const HeadCounts kNamed[] = {{"mha", 16, 16}, {"gqa", 16, 4}, {"mqa", 16, 1},
                                      {"sqa", 8, 4},   {"ssqa", 8, 8}, {"xsqa", 4, 4}};
  for (const HeadCounts& named : kNamed) {
    if (named.name == text) return named;
  }
  const std::size_t slash = text.find('/');
  HeadCounts counts{.name = text, .heads = HeadCount(text.substr(0, slash), text)};
  counts.kv_heads =
      slash == std::string::npos ? counts.heads : HeadCount(text.substr(slash + 1), text);
  if (counts.heads % counts.kv_heads != 0) {
    Throw(ErrorCode::kInvalidArgument, "heads '{}': {} query heads do not divide over {} KV heads",
          text, counts.heads, counts.kv_heads);
  }
  return counts;
}

std::vector<AttentionBenchRow> BenchAttention(Context& context,
                                              const AttentionBenchOptions& options) {
  if (options.backward && !options.kv.empty()) {
    Throw(ErrorCode::kInvalidArgument, "no backward pass over a KV cache");
  }
  std::vector<std::optional<KvTypes>> stores(options.kv.begin(), options.kv.end());
  if (stores.empty()) stores.push_back(std::nullopt);
  std::vector<AttentionBenchRow> rows;
  AttentionBench bench(context, options);
  for (const std::int64_t length : options.lengths) {
    for (const std::int64_t dim : options.dims) {
      for (const ElementType type : options.types) {
        for (const std::optional<KvTypes>& kv : stores) {
          std::vector<Shape> shapes;
          for (const HeadCounts& heads : options.heads) {
            shapes.push_back({heads, options.queries.value_or(length), length, dim, type, kv});
          }
          bench.Measure(shapes, rows);
        }
      }
    }
  }
  return rows;
}

}  // namespace foveate
