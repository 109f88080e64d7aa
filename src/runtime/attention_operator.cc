#include "attention/attention.h"

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

}  // namespace foveate
