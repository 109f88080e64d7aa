// Runs schedules: hands row tiles to threads and their key tiles, step by step, to the kernel.
//
// The caller describes a call by its parts (AttentionCall) and says where rows, tiles and results
// lie by deriving from AttentionData; nothing here knows tensors or caches.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "attention/attention.h"
#include "attention/schedule.h"
#include "kernels/attention_kernels.h"

namespace foveate {

// Query heads that read one KV head by one schedule: the unit that shares keys.
struct HeadGroup {
  std::int64_t batch = 0;
  std::int64_t kv_head = 0;
  std::int64_t first_head = 0;
  std::int64_t heads = 1;
  std::shared_ptr<const Schedule> schedule;
};

class AttentionData {
 public:
  virtual ~AttentionData() = default;

  virtual const PageLayout& layout() const = 0;

  // The D floats of a query row.
  virtual void Query(std::int64_t batch, std::int64_t head, std::int64_t row, float* to) const = 0;

  // Keys and values of a tile. `memory` has room for one packed tile (keys, then values).
  virtual KeyTile Tile(const HeadGroup& group, std::int64_t tile, float* memory) const = 0;

  // Takes the finished row: Dv floats and the log-sum-exp.
  virtual void Store(std::int64_t batch, std::int64_t head, std::int64_t row, const float* out,
                     float lse) const = 0;
};

struct AttentionCall {
  const AttentionData& data;
  const AttentionOptions& options;
  double scale = 1;
  std::vector<HeadGroup> groups;
};

// Tokens of a row tile: 64, less where many heads share the keys or where threads would idle.
std::int64_t ChooseTileRows(const AttentionShape& shape, std::int64_t heads_per_group,
                            std::int64_t groups, int threads);

// The score operations of rows from `row` on, of query heads from `head` on; the bias is broadcast
// already. What it returns points into `options`.
ScoreOps ScoreOpsOf(const AttentionOptions& options, std::int64_t batch, std::int64_t head,
                    std::int64_t row);

void Execute(Context& context, const AttentionCall& call, AttentionScratch& scratch);

}  // namespace foveate
