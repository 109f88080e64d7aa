// Uniform block sparsity: rows and keys are cut into tiles of one size, and a list says which pairs
// of tiles are attended. The block mask of Sparse Transformers (Child et al. 2019, arXiv
// 1904.10509) and of everything that selects blocks. Row tiles count the rows of the call.
#include "attention/window_pattern.h"
#include "mechanisms/mechanism.h"
#include "mechanisms/tile_list.h"

namespace foveate::mechanisms {
namespace {

PatternPtr Make(const Params& params) {
  const PatternPtr tiles = MakeTileList(TileAxis::OfSize(params.Integer("bq")),
                                        TileAxis::OfSize(params.Integer("bk")), params);
  return params.Bool("causal") ? And(tiles, Window(-1, 0)) : tiles;
}

}  // namespace

Mechanism block_sparse() {
  return {.name = "block_sparse",
          .title = "Block sparsity",
          .paper = "Child et al. 2019, arXiv 1904.10509",
          .formula = "(floor(r / bq), floor(j / bk)) in tiles, and j <= i if causal",
          .cost = "bq bk pairs for each tile listed",
          .use = "masks that come as blocks; bq and bk of 64 visit no tile in vain",
          .params = {{.key = "bq", .help = "rows of a tile", .least = 1},
                     {.key = "bk", .help = "keys of a tile", .least = 1},
                     {.key = "tiles",
                      .type = ParamType::kTuples,
                      .help = "pairs of row tile and key tile that are attended",
                      .arity = 2},
                     {.key = "causal",
                      .type = ParamType::kBool,
                      .help = "whether keys after the row are hidden",
                      .fallback = "0"}},
          .examples = {{"block_sparse:bq=4,bk=5,tiles=0x0/1x2/2x1/2x2", 10, 14},
                       {"block_sparse:bq=4,bk=4,tiles=0x0/1x0/2x1/2x2,causal=1", 12, 12}},
          .by_row = true,
          .pattern = Make};
}

}  // namespace foveate::mechanisms
