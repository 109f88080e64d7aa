// Block sparsity with borders of one's own: rows and keys are cut at given edges, and a list says
// which pairs of tiles are attended. Blocks that follow the content, such as clusters of tokens
// (for example Sparse VideoGen 2, arXiv 2505.18875). Row tiles count the rows of the call.
#include "mechanisms/mechanism.h"
#include "mechanisms/tile_list.h"

namespace foveate::mechanisms {

Mechanism var_block_sparse() {
  return {.name = "var_block_sparse",
          .title = "Block sparsity with given borders",
          .paper = "Yang et al. 2025, arXiv 2505.18875",
          .formula =
              "(a, b) in tiles with q_edges[a] <= r < q_edges[a + 1] and "
              "k_edges[b] <= j < k_edges[b + 1]",
          .cost = "rows times keys of each tile listed",
          .use = "blocks that follow the content",
          .params = {{.key = "q_edges",
                      .type = ParamType::kList,
                      .help = "borders of the row tiles: 0/../N, rising"},
                     {.key = "k_edges",
                      .type = ParamType::kList,
                      .help = "borders of the key tiles: 0/../M, rising"},
                     {.key = "tiles",
                      .type = ParamType::kTuples,
                      .help = "pairs of row tile and key tile that are attended",
                      .arity = 2}},
          .examples = {{"var_block_sparse:q_edges=0/2/7/9,k_edges=0/1/6/11,tiles=0x1/1x0/1x2/2x1",
                        9, 11}},
          .by_row = true,
          .pattern = [](const Params& params) {
            return MakeTileList(TileAxis::AtEdges(params, "q_edges"),
                                TileAxis::AtEdges(params, "k_edges"), params);
          }};
}

}  // namespace foveate::mechanisms
