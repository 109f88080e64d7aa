#include "reference/attention_gradient_oracle.h"

#include <algorithm>
#include <cmath>

namespace foveate::reference {
namespace {

constexpr double kHidden = -1e30;
constexpr double kUnit = 0x1p-24;

// One row of one head: its contributions to all gradients.
class RowGradient {
 public:
  RowGradient(const AttentionProblem& p, std::int64_t batch, std::int64_t head, std::int64_t row)
      : p_(p),
        batch_(batch),
        head_(head),
        row_(row),
        kv_(batch * p.kv_heads + head / (p.heads / p.kv_heads)),
        index_((batch * p.heads + head) * p.rows + row),
        query_(&p.q[index_ * p.key_dim]) {}

  void Add(const double* dout, double out_rounding, AttentionGradientAnswer& answer) {
    for (std::int64_t j = 0; j < p_.keys; ++j) AddPair(j, dout);
    const double lse = LogSum();
    if (std::isinf(lse)) return;
    double delta = 0, delta_rounding = 0, largest_value = 0, largest_score = 0, sum_dout = 0;
    std::vector<double> out(p_.value_dim);
    for (const Pair& pair : pairs_) {
      largest_score = std::max(largest_score, pair.magnitude);
      for (std::int64_t d = 0; d < p_.value_dim; ++d) {
        const double v = p_.v[(kv_ * p_.keys + pair.key) * p_.value_dim + d];
        out[d] += std::exp(pair.score - lse) * v;
        largest_value = std::max(largest_value, std::abs(v));
      }
    }
    for (std::int64_t d = 0; d < p_.value_dim; ++d) {
      delta += dout[d] * out[d];
      delta_rounding += std::abs(dout[d] * out[d]) * out_rounding;
      sum_dout += std::abs(dout[d]);
    }
    const double relative = 16 * kUnit * (1 + largest_score + std::abs(lse));
    const double dp_error = sum_dout * largest_value * relative + delta_rounding;
    for (const Pair& pair : pairs_) {
      const double probability = std::exp(pair.score - lse);
      const double gradient = p_.scale * probability * (pair.dp - delta) * pair.slope;
      const double error = std::abs(p_.scale) * probability * dp_error;
      const std::int64_t key = kv_ * p_.keys + pair.key;
      for (std::int64_t d = 0; d < p_.key_dim; ++d) {
        answer.dq[index_ * p_.key_dim + d] += gradient * p_.k[key * p_.key_dim + d];
        answer.dk[key * p_.key_dim + d] += gradient * query_[d];
        answer.dq_bound[index_ * p_.key_dim + d] += error * std::abs(p_.k[key * p_.key_dim + d]);
        answer.dk_bound[key * p_.key_dim + d] += error * std::abs(query_[d]);
      }
      for (std::int64_t d = 0; d < p_.value_dim; ++d) {
        answer.dv[key * p_.value_dim + d] += probability * dout[d];
        answer.dv_bound[key * p_.value_dim + d] += probability * std::abs(dout[d]) * relative;
      }
    }
    if (p_.sinks.empty()) return;
    const double sink = std::exp(p_.sinks[head_] - lse);
    answer.dsinks[head_] -= sink * delta;
    answer.dsinks_bound[head_] += sink * dp_error;
  }

 private:
  struct Pair {
    std::int64_t key = 0;
    double score = 0;
    double slope = 1;      // of the score by scale * q . k
    double magnitude = 0;  // scale * sum |q_d k_d|
    double dp = 0;         // dout . v
  };

  void AddPair(std::int64_t j, const double* dout) {
    if (p_.mask && !p_.mask(head_, row_, j)) return;
    const double bias = p_.bias ? p_.bias(batch_, head_, row_, j) : 0;
    if (bias <= kHidden) return;
    Pair pair{.key = j};
    for (std::int64_t d = 0; d < p_.key_dim; ++d) {
      const double product = p_.scale * query_[d] * p_.k[(kv_ * p_.keys + j) * p_.key_dim + d];
      pair.score += product;
      pair.magnitude += std::abs(product);
    }
    if (p_.soft_cap > 0) {
      const double tanh = std::tanh(pair.score / p_.soft_cap);
      pair.score = p_.soft_cap * tanh;
      pair.slope = 1 - tanh * tanh;
    }
    if (!p_.slopes.empty()) {
      const std::int64_t position = p_.keys - p_.rows + row_;
      pair.score -= p_.slopes[head_] * std::abs(static_cast<double>(position - j));
    }
    pair.score += bias;
    for (std::int64_t d = 0; d < p_.value_dim; ++d) {
      pair.dp += dout[d] * p_.v[(kv_ * p_.keys + j) * p_.value_dim + d];
    }
    pairs_.push_back(pair);
  }

  double LogSum() const {
    double largest = p_.sinks.empty() ? -INFINITY : p_.sinks[head_];
    for (const Pair& pair : pairs_) largest = std::max(largest, pair.score);
    if (std::isinf(largest)) return largest;
    double sum = p_.sinks.empty() ? 0 : std::exp(p_.sinks[head_] - largest);
    for (const Pair& pair : pairs_) sum += std::exp(pair.score - largest);
    return largest + std::log(sum);
  }

  const AttentionProblem& p_;
  std::int64_t batch_, head_, row_, kv_, index_;
  const double* query_;
  std::vector<Pair> pairs_;
};

}  // namespace

AttentionGradientAnswer SolveAttentionGradient(const AttentionProblem& p,
                                               const std::vector<double>& dout,
                                               double out_rounding) {
  AttentionGradientAnswer answer;
  answer.dq.resize(p.q.size());
  answer.dk.resize(p.k.size());
  answer.dv.resize(p.v.size());
  answer.dsinks.resize(p.sinks.size());
  answer.dq_bound = answer.dq;
  answer.dk_bound = answer.dk;
  answer.dv_bound = answer.dv;
  answer.dsinks_bound = answer.dsinks;
  for (std::int64_t i = 0; i < p.batches * p.heads * p.rows; ++i) {
    RowGradient row(p, i / p.rows / p.heads, i / p.rows % p.heads, i % p.rows);
    row.Add(&dout[i * p.value_dim], out_rounding, answer);
  }
  return answer;
}

}  // namespace foveate::reference
