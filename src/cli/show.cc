// `foveate show`: what an attention spec sees in a call of some length, and what that costs.
#include <fmt/format.h>

#include <charconv>
#include <nlohmann/json.hpp>
#include <random>

#include "base/cpu.h"
#include "base/stopwatch.h"
#include "base/throw.h"
#include "cli/mask_picture.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/verbs.h"
#include "mechanisms/mask_report.h"
#include "mechanisms/slices.h"
#include "mechanisms/spec.h"

namespace foveate::cli {
namespace {

using OrderedJson = nlohmann::ordered_json;

constexpr std::int64_t kTerminalCells = 64;
constexpr std::int64_t kPictureCells = 256;
constexpr std::int64_t kMostLength = 100'000'000;
constexpr std::int64_t kMostSliceRows = 131'072;
constexpr std::int64_t kMostReachTiles = 100'000;
constexpr std::int64_t kMostExampleNumbers = 64 << 20;
constexpr std::size_t kMostListedRuns = 1'000'000;

struct ShowOptions {
  std::vector<std::string> specs;
  std::int64_t length = 64;
  std::int64_t keys = 0;   // 0: length
  std::int64_t tiles = 0;  // 0: chosen
  std::int64_t layer = 0;
  std::int64_t head = 0;
  std::string heads = "1/1";
  std::int64_t dim = 64;
  int threads = 0;
  std::int64_t receptive_field = 0;
  std::string picture;
  bool slices = false;
  bool list = false;
  bool ordered = false;
  bool json = false;
};

struct Heads {
  std::int64_t query = 1, kv = 1;
};

bool ReadCount(std::string_view text, std::int64_t& count) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  return error == std::errc() && end == text.data() + text.size() && 1 <= count && count <= 65536;
}

// "8" or "8/2".
Heads ParseHeads(std::string_view text) {
  Heads heads;
  const std::size_t slash = text.find('/');
  const bool query = ReadCount(text.substr(0, slash), heads.query);
  heads.kv = heads.query;
  const bool kv = slash == std::string_view::npos || ReadCount(text.substr(slash + 1), heads.kv);
  if (!query || !kv || heads.query % heads.kv != 0) {
    Throw(ErrorCode::kInvalidArgument,
          "--heads {}: expected query heads / KV heads, such as 8 or 8/2, the second a divisor",
          text);
  }
  return heads;
}

// One spec in the call that was asked for.
struct Shown {
  std::string text;
  PatternPtr pattern;
  AttentionShape shape;
  std::shared_ptr<const TokenOrder> order;  // null: none
  Schedule schedule;                        // as the operator runs it: in the order, if any
  double build_seconds = 0;
  MaskPairs pairs;
  std::int64_t tile = 0;
  TileCounts tiles;
  std::vector<std::int64_t> reach;
};

AttentionShape ShapeOf(const ShowOptions& options) {
  return {options.length, options.keys > 0 ? options.keys : options.length};
}

// Rows that drift, as rotated keys do: each is mostly the one before.
std::vector<float> DriftingRows(std::int64_t rows, std::int64_t dim, unsigned seed) {
  constexpr float kKept = 0.95f, kFresh = 0.312f;  // the squares make 1
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(rows * dim);
  for (std::int64_t i = 0; i < rows * dim; ++i) {
    values[i] = i < dim ? normal(random) : kKept * values[i - dim] + kFresh * normal(random);
  }
  return values;
}

// What a mechanism that looks at queries and keys makes of random ones.
PatternPtr ExampleChoice(const Selector& selector, const AttentionShape& shape, std::int64_t dim) {
  if (std::max(shape.queries, shape.keys) * dim > kMostExampleNumbers) {
    Throw(ErrorCode::kLimit, "queries and keys of {} numbers, at most {} are drawn",
          std::max(shape.queries, shape.keys) * dim, kMostExampleNumbers);
  }
  const std::vector<float> queries = DriftingRows(shape.queries, dim, 1);
  const std::vector<float> keys = DriftingRows(shape.keys, dim, 2);
  Context context;
  const auto in = SelectFrom(context, DenseRef(queries.data(), {1, 1, shape.queries, dim}),
                             DenseRef(keys.data(), {1, 1, shape.keys, dim}), 0);
  return selector.Select(context, *in, nullptr)[0];
}

Shown Examine(const ShowOptions& options, const AttentionSpec& spec) {
  const HeadAttention& choice = spec.At(options.layer, options.head);
  const AttentionShape shape = ShapeOf(options);
  Shown shown{.text = ToText(*choice.node), .pattern = choice.pattern, .shape = shape};
  if (choice.selector != nullptr) {
    shown.pattern = ExampleChoice(*choice.selector, shape, options.dim);
    shown.text += " on random keys";
  } else if (choice.pattern == nullptr) {
    Throw(ErrorCode::kUnsupported, "{} is no pattern of keys: it cannot be drawn", shown.text);
  }
  const Stopwatch watch;
  shown.pattern->Check(shape);
  shown.order = shown.pattern->Order(shape);
  shown.schedule = OrderedSchedule(shown.pattern, shape, shown.order.get());
  shown.build_seconds = watch.Seconds();
  // In an order there are fillers, which would count as rows that see nothing.
  shown.pairs =
      CountPairs(shown.order == nullptr ? shown.schedule : Schedule(shown.pattern, shape));
  shown.tile = options.tiles > 0 ? options.tiles : kTileKeys;
  if (options.ordered && shown.order != nullptr) {
    shown.pattern = shown.order->pattern;
    shown.shape = shown.schedule.shape();
  }
  shown.tiles = CountTiles(*shown.pattern, shown.shape, shown.tile);
  if (options.receptive_field > 0) {
    if (shape.queries != shape.keys || shape.queries / shown.tile > kMostReachTiles) {
      Throw(ErrorCode::kInvalidArgument,
            "--receptive-field needs as many keys as queries, at most {} tiles", kMostReachTiles);
    }
    shown.reach = ReachPerLayer(*shown.pattern, shape.queries, shown.tile, options.receptive_field);
  }
  return shown;
}

double Density(const Shown& shown) {
  return static_cast<double>(shown.pairs.pairs) / static_cast<double>(shown.shape.queries) /
         static_cast<double>(shown.shape.keys);
}

// Multiplications and additions of both products.
double Flops(const ShowOptions& options, const Shown& shown) {
  return 4.0 * static_cast<double>(shown.pairs.pairs) *
         static_cast<double>(options.dim * ParseHeads(options.heads).query);
}

// Of keys and values as f16, read once per tile of rows and KV head.
double KvBytes(const ShowOptions& options, const Shown& shown) {
  const auto tiles =
      static_cast<double>(shown.schedule.full_tiles() + shown.schedule.partial_tiles());
  return tiles *
         static_cast<double>(kTileKeys * options.dim * 2 * 2 * ParseHeads(options.heads).kv);
}

int Threads(const ShowOptions& options) {
  return options.threads > 0 ? options.threads : DefaultThreads();
}

std::string SlicesText(const Shown& shown) {
  const AttentionShape& shape = shown.shape;
  if (shape.queries > kMostSliceRows) {
    Throw(ErrorCode::kLimit, "--slices: {} rows, at most {} are cut", shape.queries,
          kMostSliceRows);
  }
  std::string text;
  for (const Slice& slice : SlicesOf(*shown.pattern, shape)) {
    text += fmt::format("{}{}x{}x{}x{}x{}", text.empty() ? "slices:slices=" : "/", slice.rows.begin,
                        slice.rows.end, slice.keys.begin, slice.keys.end,
                        kSliceTypeNames[static_cast<int>(slice.type)]);
  }
  return text;
}

// What the schedule lists must be readable.
void CheckListed(const Schedule& schedule) {
  std::size_t runs = 0;
  for (const ScheduleItem& item : schedule.items()) runs += schedule.runs(item).size() + 1;
  if (runs > kMostListedRuns) {
    Throw(ErrorCode::kLimit, "--schedule: {} lines of work, at most {} are listed", runs,
          kMostListedRuns);
  }
}

OrderedJson ScheduleJson(const Schedule& schedule) {
  OrderedJson work = OrderedJson::array();
  for (const ScheduleItem& item : schedule.items()) {
    OrderedJson runs = OrderedJson::array();
    for (const TileRun& run : schedule.runs(item)) {
      runs.push_back(
          {{"begin", run.begin}, {"end", run.end}, {"mask", run.partial ? "partial" : "full"}});
    }
    work.push_back({{"rows", {item.rows.begin, item.rows.end}}, {"key_tiles", runs}});
  }
  return work;
}

// A line for each tile of rows: its key tiles, those in parentheses with a mask.
void PrintSchedule(const Shown& shown) {
  const Schedule& schedule = shown.schedule;
  fmt::print("rows: tiles of {} keys that they visit, (those) with a mask{}\n", kTileKeys,
             shown.order != nullptr ? "; rows and keys in the order of tiles" : "");
  for (const ScheduleItem& item : schedule.items()) {
    fmt::print("{:>9}", fmt::format("{}-{}:", item.rows.begin, item.rows.end - 1));
    for (const TileRun& run : schedule.runs(item)) {
      const std::string tiles = run.end - run.begin == 1
                                    ? fmt::format("{}", run.begin)
                                    : fmt::format("{}-{}", run.begin, run.end - 1);
      fmt::print(" {}", run.partial ? "(" + tiles + ")" : tiles);
    }
    fmt::print("\n");
  }
  fmt::print("\n");
}

OrderedJson ShownJson(const ShowOptions& options, const Shown& shown) {
  const Schedule& schedule = shown.schedule;
  OrderedJson object = {{"spec", shown.text},
                        {"queries", shown.shape.queries},
                        {"keys", shown.shape.keys},
                        {"pairs", shown.pairs.pairs},
                        {"pairs_exact", shown.pairs.exact},
                        {"empty_rows", shown.pairs.empty_rows},
                        {"density", Density(shown)},
                        {"tile", shown.tile},
                        {"tiles",
                         {{"full", shown.tiles.full},
                          {"partial", shown.tiles.partial},
                          {"total", shown.tiles.total}}},
                        {"flops", Flops(options, shown)},
                        {"kv_bytes", KvBytes(options, shown)},
                        {"schedule",
                         {{"ordered", shown.order != nullptr},
                          {"items", schedule.items().size()},
                          {"full_tiles", schedule.full_tiles()},
                          {"partial_tiles", schedule.partial_tiles()},
                          {"bytes", schedule.bytes()},
                          {"build_seconds", shown.build_seconds},
                          {"threads", Threads(options)},
                          {"speedup", Speedup(schedule, Threads(options))}}}};
  if (options.receptive_field > 0) object["reach_per_layer"] = shown.reach;
  if (options.slices) object["slices"] = SlicesText(shown);
  if (options.list) object["schedule"]["work"] = ScheduleJson(schedule);
  return object;
}

// One line of the table: a name, then what `text` says of each spec.
template <typename Text>
void PrintRow(const std::string& name, const std::vector<Shown>& all, Text text) {
  fmt::print("{:<22}", name);
  for (const Shown& shown : all) fmt::print(" {:>24}", text(shown));
  fmt::print("\n");
}

void PrintTable(const ShowOptions& options, const std::vector<Shown>& all) {
  for (std::size_t i = 0; all.size() > 1 && i < all.size(); ++i) {
    fmt::print("[{}] {}\n", i + 1, all[i].text);
  }
  PrintRow("pairs", all, [](const Shown& s) {
    return fmt::format("{}{}", s.pairs.exact ? "" : "about ", s.pairs.pairs);
  });
  PrintRow("density", all, [](const Shown& s) { return fmt::format("{:.4f}", Density(s)); });
  PrintRow("rows that see nothing", all,
           [](const Shown& s) { return fmt::format("{}", s.pairs.empty_rows); });
  PrintRow(fmt::format("tiles of {0} x {0}", all.front().tile), all, [](const Shown& s) {
    return fmt::format("{} of {}", s.tiles.full + s.tiles.partial, s.tiles.total);
  });
  PrintRow("  full / partial", all,
           [](const Shown& s) { return fmt::format("{} / {}", s.tiles.full, s.tiles.partial); });
  PrintRow("FLOPs", all, [&](const Shown& s) { return fmt::format("{:.4g}", Flops(options, s)); });
  PrintRow("K/V read (f16)", all, [&](const Shown& s) { return HumanBytes(KvBytes(options, s)); });
  PrintRow("schedule items", all,
           [](const Shown& s) { return fmt::format("{}", s.schedule.items().size()); });
  if (std::any_of(all.begin(), all.end(), [](const Shown& s) { return s.order != nullptr; })) {
    PrintRow("  full / partial tiles", all, [](const Shown& s) {
      return fmt::format("{} / {}{}", s.schedule.full_tiles(), s.schedule.partial_tiles(),
                         s.order != nullptr ? ", ordered" : "");
    });
  }
  PrintRow("schedule memory", all,
           [](const Shown& s) { return HumanBytes(static_cast<double>(s.schedule.bytes())); });
  PrintRow("schedule built in", all,
           [](const Shown& s) { return fmt::format("{:.3f} ms", s.build_seconds * 1e3); });
  PrintRow(fmt::format("speed-up, {} threads", Threads(options)), all, [&](const Shown& s) {
    return fmt::format("{:.2f}", Speedup(s.schedule, Threads(options)));
  });
}

void PrintReach(const ShowOptions& options, const std::vector<Shown>& all) {
  fmt::print("\nof {} tiles the last row of tiles sees, through so many layers\n",
             (options.length + all.front().tile - 1) / all.front().tile);
  std::size_t layers = 0;
  for (const Shown& shown : all) layers = std::max(layers, shown.reach.size());
  for (std::size_t layer = 0; layer < layers; ++layer) {
    PrintRow(fmt::format("{}", layer + 1), all, [&](const Shown& s) {
      return s.reach.empty() ? 1 : s.reach[std::min(layer, s.reach.size() - 1)];
    });
  }
}

// The tile of a picture of at most so many cells: single pairs where they fit.
TileGrid GridFor(const ShowOptions& options, const Shown& shown, std::int64_t cells) {
  const AttentionShape& shape = shown.shape;
  const bool small = std::max(shape.queries, shape.keys) <= cells;
  const std::int64_t tile = options.tiles > 0 ? options.tiles : small ? 1 : kTileKeys;
  return MakeTileGrid(*shown.pattern, shape, PictureTile(shape, tile, cells));
}

void Draw(const ShowOptions& options, const Shown& shown) {
  const AttentionShape& shape = shown.shape;
  const TileGrid grid = GridFor(options, shown, kTerminalCells);
  fmt::print("{}\n{} queries (down) x {} keys; a cell is {} x {}: █ full ▒ partial · empty\n\n{}\n",
             shown.text, shape.queries, shape.keys, grid.tile, grid.tile, TerminalPicture(grid));
}

// Every text may hold several specs; several texts are for specs with commas of their own.
std::vector<Shown> ExamineAll(const ShowOptions& options) {
  std::vector<Shown> all;
  for (const std::string& text : options.specs) {
    for (const AttentionSpec& spec : ParseSpecList(text)) all.push_back(Examine(options, spec));
  }
  return all;
}

int Show(const ShowOptions& options) {
  ParseHeads(options.heads);
  const std::vector<Shown> all = ExamineAll(options);
  for (const Shown& shown : all) {
    if (options.list) CheckListed(shown.schedule);
  }
  if (!options.picture.empty()) {
    if (all.size() != 1)
      Throw(ErrorCode::kInvalidArgument, "-o takes one spec, not {}", all.size());
    WritePicture(options.picture, GridFor(options, all.front(), kPictureCells));
  }
  if (options.json) {
    OrderedJson list = OrderedJson::array();
    for (const Shown& shown : all) list.push_back(ShownJson(options, shown));
    PrintJson({{"specs", list}});
    return kExitOk;
  }
  for (const Shown& shown : all) {
    Draw(options, shown);
    if (options.slices) fmt::print("{}\n\n", SlicesText(shown));
    if (options.list) PrintSchedule(shown);
  }
  PrintTable(options, all);
  if (options.receptive_field > 0) PrintReach(options, all);
  return kExitOk;
}

}  // namespace

void AddShowVerb(CLI::App& app, Work& work) {
  auto options = std::make_shared<ShowOptions>();
  CLI::App* verb = app.add_subcommand("show", "Draw an attention spec and count what it costs");
  verb->add_option(
          "spec", options->specs,
          "a spec, or several joined by commas to compare them; keys that are chosen by content "
          "are chosen among random ones")
      ->required()
      ->type_name("SPEC");
  verb->add_option("-n,--length", options->length, "queries (default 64)")
      ->check(CLI::Range(std::int64_t{1}, kMostLength));
  verb->add_option("--keys", options->keys, "keys (default: as many as queries)")
      ->check(CLI::Range(std::int64_t{1}, kMostLength));
  verb->add_option("--tiles", options->tiles, "rows and keys of a tile")
      ->check(CLI::Range(std::int64_t{1}, kMostLength));
  verb->add_option("--layer", options->layer, "of a spec by layer (default 0)")
      ->check(CLI::NonNegativeNumber);
  verb->add_option("--head", options->head, "of a spec by head (default 0)")
      ->check(CLI::NonNegativeNumber);
  verb->add_option("--heads", options->heads, "query heads / KV heads, for the cost (default 1/1)");
  verb->add_option("--dim", options->dim, "dimension of a head (default 64)")
      ->check(CLI::Range(1, 65536));
  verb->add_option("--threads", options->threads, "that share the work (default: this machine's)")
      ->check(CLI::Range(1, 1024));
  verb->add_option("--receptive-field", options->receptive_field,
                   "tiles that are reached through up to so many layers")
      ->check(CLI::Range(1, 100000));
  verb->add_option("-o,--output", options->picture, "write a picture: FILE.svg or FILE.png");
  verb->add_flag("--ordered", options->ordered,
                 "rows and keys in the order in which the operator takes them, if it has one");
  verb->add_flag("--slices", options->slices, "print the mask as slices");
  verb->add_flag("--schedule", options->list, "print the work, tile by tile of rows");
  verb->add_flag("--json", options->json, "print one JSON object");
  verb->callback([options, &work] { work = [options] { return Show(*options); }; });
}

}  // namespace foveate::cli
