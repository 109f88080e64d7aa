#include "text/merge_table.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <string>
#include <string_view>

#include "base/log.h"
#include "base/throw.h"
#include "text/string_array.h"

namespace foveate {
namespace {

constexpr std::string_view kMergesKey = "tokenizer.ggml.merges";

}  // namespace

MergeTable::MergeTable(const Vocabulary& vocabulary) {
  const std::string& path = vocabulary.file().path();
  const GgufValue* merges = vocabulary.file().Find(kMergesKey);
  if (merges == nullptr) Throw(ErrorCode::kCorruptFile, "{}: no {}", path, kMergesKey);
  constexpr std::uint64_t kMost = std::numeric_limits<std::int32_t>::max() / 4;
  if (merges->type != GgufType::kArray || merges->element_type != GgufType::kString ||
      merges->count > kMost) {
    Throw(ErrorCode::kCorruptFile, "{}: {} is not an array of at most {} strings", path, kMergesKey,
          kMost);
  }
  slots_.resize(std::bit_ceil(merges->count * 2 + 1));
  mask_ = slots_.size() - 1;

  StringArrayReader reader(merges->bytes);
  std::int64_t skipped = 0;
  std::uint32_t first_skipped = 0;
  std::string joined;
  for (std::uint32_t rank = 0; rank < merges->count; ++rank) {
    std::string_view merge;
    if (!reader.Next(merge)) {
      Throw(ErrorCode::kCorruptFile, "{}: {} ends inside merge {}", path, kMergesKey, rank);
    }
    // The alphabet has no raw space: the first one separates.
    const std::size_t space = std::min(merge.find(' ', 1), merge.size());
    const std::string_view left = merge.substr(0, space);
    const std::string_view right = merge.substr(std::min(space + 1, merge.size()));
    joined.assign(left).append(right);
    const auto left_id = vocabulary.FindText(left), right_id = vocabulary.FindText(right);
    const auto joined_id = vocabulary.FindText(joined);
    if (!left_id || !right_id || !joined_id || !Insert(*left_id, *right_id, {rank, *joined_id})) {
      if (skipped++ == 0) first_skipped = rank;
    }
  }
  if (skipped > 0) {
    Warn("{}: {} merges are skipped, they repeat others or name unknown tokens (first: {}[{}])",
         path, skipped, kMergesKey, first_skipped);
  }
}

bool MergeTable::Insert(TokenId left, TokenId right, PairMerger::Merge merge) {
  const std::uint64_t pair = Key(left, right);
  std::size_t at = Hash(pair) & mask_;
  for (; slots_[at].pair != kEmpty; at = (at + 1) & mask_) {
    if (slots_[at].pair == pair) return false;
  }
  slots_[at] = {pair, merge};
  return true;
}

}  // namespace foveate
