#include "attention/attention.h"

#include "attention/attention_call.h"
#include "base/throw.h"
#include "foveate/attention.h"
#include "mechanisms/spec.h"

namespace foveate {
namespace {

// A tensor that has to be f32.
template <typename T, typename Ref>
auto FloatView(const char* name, const Ref& tensor) {
  if (tensor.type != ElementType::kF32) {
    Throw(ErrorCode::kInvalidArgument, "attention: {} is {}, expected f32", name,
          ElementTypeName(tensor.type));
  }
  return View<T, std::tuple_size_v<decltype(tensor.shape)>>{reinterpret_cast<T*>(tensor.data),
                                                            tensor.shape, tensor.strides};
}

}  // namespace

struct AttentionOperator::Impl {
  Impl(const std::string& mechanism, const OperatorOptions& options)
      : spec(ParseAttentionSpec(mechanism)),
        layer(options.layer),
        context(ContextOptionsOf(options.threads, options.isa)) {
    HeadPatterns(spec, layer, 1);  // says now what is wrong with the layer
  }

  AttentionSpec spec;
  std::int64_t layer;
  Context context;
  AttentionScratch scratch;
};

AttentionOperator::AttentionOperator(const std::string& mechanism, const OperatorOptions& options)
    : impl_(std::make_unique<Impl>(mechanism, options)) {}
AttentionOperator::~AttentionOperator() = default;
AttentionOperator::AttentionOperator(AttentionOperator&&) noexcept = default;
AttentionOperator& AttentionOperator::operator=(AttentionOperator&&) noexcept = default;

void AttentionOperator::Run(const TensorRef<4>& query, const TensorRef<4>& key,
                            const TensorRef<4>& value, const MutableTensorRef<4>& out,
                            const MutableTensorRef<3>& lse, const ScoreOptions& scores) {
  CheckHeads(impl_->spec.Layer(impl_->layer), query.shape[1]);
  const AttentionOptions options{
      .head_patterns = HeadPatterns(impl_->spec, impl_->layer, query.shape[1]),
      .scale = scores.scale,
      .soft_cap = scores.soft_cap,
      .alibi_slopes = scores.alibi_slopes,
      .bias = FloatView<const float>("bias", scores.bias),
      .sinks = scores.sinks};
  Attention(impl_->context, {query, key, value}, options, impl_->scratch,
            {out, FloatView<float>("lse", lse)});
}

void MergeAttention(const TensorRef<4>& more, const TensorRef<3>& more_lse,
                    const MutableTensorRef<4>& out, const MutableTensorRef<3>& lse) {
  const std::int64_t batches = out.shape[0], heads = out.shape[1];
  const std::int64_t rows = out.shape[2], dim = out.shape[3];
  CheckShape("the part to merge is", more.shape, out.shape);
  CheckShape("lse is", lse.shape, {batches, heads, rows});
  CheckShape("lse of the part to merge is", more_lse.shape, lse.shape);
  const auto part = FloatView<const float>("the part to merge", more);
  const auto part_lse = FloatView<const float>("lse of the part to merge", more_lse);
  const auto whole = FloatView<float>("out", out);
  const auto whole_lse = FloatView<float>("lse", lse);
  for (std::int64_t b = 0; b < batches; ++b) {
    for (std::int64_t h = 0; h < heads; ++h) {
      const auto of_head = [&](auto view) {
        using T = std::remove_pointer_t<decltype(view.data)>;
        return View<T, 2>{&view(b, h, 0, 0), {rows, dim}, {view.strides[2], view.strides[3]}};
      };
      const auto lse_of_head = [&](auto view) {
        using T = std::remove_pointer_t<decltype(view.data)>;
        return View<T, 1>{&view(b, h, 0), {rows}, {view.strides[2]}};
      };
      MergeAttention(of_head(part), lse_of_head(part_lse), of_head(whole), lse_of_head(whole_lse));
    }
  }
}

}  // namespace foveate
