// Any mask as a union of slices: rectangles that are attended in full or up to a diagonal. The form
// in which MagiAttention (Sand AI 2025, arXiv 2505.13211) exchanges masks. Rows are those of the
// call, the first one 0.
#include "mechanisms/slices.h"

#include <iterator>

#include "base/throw.h"
#include "mechanisms/mechanism.h"

namespace foveate::mechanisms {
namespace {

constexpr int kMembers = 5;

PatternPtr Make(const Params& params) {
  const IntegerList& list = params.List("slices");
  std::vector<Slice> slices;
  for (auto member = list.begin(); member != list.end(); member += kMembers) {
    const Slice slice{{member[0], member[1]}, {member[2], member[3]}, SliceType(member[4])};
    if (slice.rows.begin > slice.rows.end || slice.keys.begin > slice.keys.end) {
      Throw(ErrorCode::kInvalidArgument,
            "slices: slice {} has rows {} to {} and keys {} to {}, expected begin <= end",
            slices.size(), slice.rows.begin, slice.rows.end, slice.keys.begin, slice.keys.end);
    }
    slices.push_back(slice);
  }
  return MakeSlices(std::move(slices));
}

}  // namespace

Mechanism slices() {
  return {.name = "slices",
          .title = "Union of slices",
          .paper = "Sand AI 2025, arXiv 2505.13211 (MagiAttention)",
          .formula =
              "some slice has q0 <= r < q1, k0 <= j < k1 and, with d = j - r: causal "
              "d <= k1 - q1, invcausal d >= k0 - q0, bicausal both",
          .cost = "the area of the slices",
          .use = "masks from elsewhere; foveate show SPEC --slices writes them",
          .params = {{.key = "slices",
                      .type = ParamType::kTuples,
                      .help = "first row, end of rows, first key, end of keys, type",
                      .words = {std::begin(kSliceTypeNames), std::end(kSliceTypeNames)},
                      .arity = kMembers}},
          .examples = {{"slices:slices=0x4x0x5xcausal/4x7x2x6xinvcausal/7x10x3x9xbicausal/"
                        "4x6x8x12xfull",
                        10, 12},
                       {"slices:slices=0x8x0x4xcausal/0x3x5x8xinvcausal", 8, 8}},
          .by_row = true,
          .pattern = Make};
}

}  // namespace foveate::mechanisms
