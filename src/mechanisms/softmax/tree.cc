// Tree attention for speculative decoding: the rows of a call are the nodes of a tree of drafted
// tokens behind a shared context; a node sees the context, its ancestors and itself. Miao et al.
// 2023, SpecInfer (arXiv 2305.09781), and Medusa (Cai et al. 2024, arXiv 2401.10774).
#include <algorithm>
#include <utility>

#include "base/throw.h"
#include "mechanisms/mechanism.h"

namespace foveate::mechanisms {
namespace {

class Tree final : public Pattern {
 public:
  explicit Tree(const Params& params)
      : context_(params.Integer("context")), parents_(params.List("parents")) {
    chain_begin_.reserve(parents_.size());
    for (std::int64_t node = 0; node < std::ssize(parents_); ++node) {
      if (parents_[node] >= node) {
        Throw(ErrorCode::kInvalidArgument,
              "tree: parents[{}] is {}, expected -1 (none) or an earlier node", node,
              parents_[node]);
      }
      const bool continues = node > 0 && parents_[node] == node - 1;
      chain_begin_.push_back(continues ? chain_begin_.back() : node);
    }
  }

  void Check(const AttentionShape& shape) const override {
    if (shape.queries != std::ssize(parents_) || shape.keys != context_ + shape.queries) {
      Throw(ErrorCode::kInvalidArgument,
            "tree: {} nodes after {} keys of context, but the call has {} queries and {} keys",
            parents_.size(), context_, shape.queries, shape.keys);
    }
  }

  bool Attends(const AttentionShape&, std::int64_t row, std::int64_t key) const override {
    const std::int64_t sought = key - context_;
    if (sought < 0) return true;
    std::int64_t node = row;
    while (node >= 0 && chain_begin_[node] > sought) node = parents_[chain_begin_[node]];
    return node >= sought;
  }

  Coverage Cover(const AttentionShape&, Range rows) const override {
    Coverage cover;
    cover.all = cover.any = SeenBy(rows.begin);
    for (std::int64_t row = rows.begin + 1; row < rows.end; ++row) {
      const Ranges seen = SeenBy(row);
      cover.all = Intersection(cover.all, seen);
      cover.any = Union(cover.any, seen);
    }
    return cover;
  }

 private:
  // The context and the chains on the way to the root.
  Ranges SeenBy(std::int64_t row) const {
    Ranges seen;
    for (std::int64_t node = row; node >= 0; node = parents_[chain_begin_[node]]) {
      seen.push_back({context_ + chain_begin_[node], context_ + node + 1});
    }
    seen.push_back({0, context_});
    std::reverse(seen.begin(), seen.end());
    return Normalised(std::move(seen));
  }

  std::int64_t context_;
  IntegerList parents_;
  // Nodes from chain_begin_[n] to n are each the parent of the next: drafts are mostly chains.
  IntegerList chain_begin_;
};

}  // namespace

Mechanism tree() {
  return {
      .name = "tree",
      .title = "Tree of drafted tokens",
      .paper = "Miao et al. 2023, arXiv 2305.09781",
      .formula = "j < context, or node j - context is r or an ancestor of r",
      .cost = "N context pairs and the depths of the nodes",
      .use = "verifying several drafts in one call",
      .params = {{.key = "context", .help = "shared keys before the tree: M - N"},
                 {.key = "parents",
                  .type = ParamType::kList,
                  .help = "parent of each node, an earlier one, or -1 for none",
                  .least = -1}},
      .examples = {{"tree:context=4,parents=-1/0/0/1/1/3", 6, 10}},
      .by_row = true,
      .pattern = [](const Params& params) -> PatternPtr { return std::make_shared<Tree>(params); }};
}

}  // namespace foveate::mechanisms
