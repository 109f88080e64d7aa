#include "attention/selection.h"

#include "attention/attention_call.h"
#include "base/checked.h"
#include "kernels/attention_kernels.h"

namespace foveate {
namespace {

class TensorSelection final : public SelectionInput {
 public:
  TensorSelection(Isa isa, const TensorRef<4>& query, const TensorRef<4>& key, std::int64_t batch)
      : kernels_(AttentionKernelsFor(isa)), query_(query), key_(key), batch_(batch) {
    heads = query.shape[1];
    kv_heads = key.shape[1];
    dim = query.shape[3];
    shape = {query.shape[2], key.shape[2]};
  }

  void Query(std::int64_t head, std::int64_t row, float* to) const override {
    kernels_.widen(query_.At(batch_, head, row), query_.type, query_.strides[3], dim, to);
  }

  void PackKeys(std::int64_t kv_head, std::int64_t page, float* panels) const override {
    kernels_.pack_keys(PageOf(key_, batch_ * kv_heads + kv_head, page), panels);
  }

  void Score(std::int64_t kv_head, std::int64_t page, const float* packed, std::int64_t rows,
             float* scores) const override {
    Buffer<float> panels(kPageKeys * dim);
    PackKeys(kv_head, page, panels.data());
    kernels_.score_page(PanelLayout(dim), packed, rows,
                        reinterpret_cast<const std::byte*>(panels.data()), nullptr, scores);
  }

 private:
  const AttentionKernels& kernels_;
  TensorRef<4> query_, key_;
  std::int64_t batch_;
};

class CacheSelection final : public SelectionInput {
 public:
  CacheSelection(Isa isa, const KvCache& cache, const View<const float, 3>& queries)
      : kernels_(AttentionKernelsFor(isa)), cache_(cache), queries_(queries) {
    heads = queries.shape[1];
    kv_heads = cache.options().kv_heads;
    dim = queries.shape[2];
    shape = {queries.shape[0], cache.length()};
  }

  void Query(std::int64_t head, std::int64_t row, float* to) const override {
    kernels_.widen(reinterpret_cast<const std::byte*>(&queries_(row, head, 0)), ElementType::kF32,
                   queries_.strides[2], dim, to);
  }

  void PackKeys(std::int64_t kv_head, std::int64_t page, float* panels) const override {
    kernels_.unpack_keys(cache_.layout(), cache_.Keys(page, kv_head), panels);
  }

  void Score(std::int64_t kv_head, std::int64_t page, const float* packed, std::int64_t rows,
             float* scores) const override {
    const std::byte* next = page + 1 < pages() ? cache_.Keys(page + 1, kv_head) : nullptr;
    kernels_.score_page(cache_.layout(), packed, rows, cache_.Keys(page, kv_head), next, scores);
  }

 private:
  const AttentionKernels& kernels_;
  const KvCache& cache_;
  View<const float, 3> queries_;
};

}  // namespace

std::int64_t SelectionInput::pages() const { return DivideUp(shape.keys, kPageKeys); }

std::unique_ptr<SelectionInput> SelectFrom(const Context& context, const TensorRef<4>& query,
                                           const TensorRef<4>& key, std::int64_t batch) {
  return std::make_unique<TensorSelection>(context.isa(), query, key, batch);
}

std::unique_ptr<SelectionInput> SelectFrom(const Context& context, const KvCache& cache,
                                           const View<const float, 3>& queries) {
  return std::make_unique<CacheSelection>(context.isa(), cache, queries);
}

void PackedKeys::Pack(Context& context, const SelectionInput& in, std::int64_t kv_head) {
  dim_ = in.dim;
  const std::int64_t page_size = kPageKeys * in.dim;
  const std::int64_t size = in.pages() * page_size;
  if (panels_.size() < size) panels_ = Buffer<float>(size);
  context.pool().ForEach(in.pages(), [&](std::int64_t page, int) {
    in.PackKeys(kv_head, page, panels_.data() + page * page_size);
  });
}

const float* PackedKeys::Panel(std::int64_t index) const {
  return panels_.data() + index * kPanel * dim_;
}

}  // namespace foveate
