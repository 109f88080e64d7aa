#include "reference/attention_oracle.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace foveate::reference {
namespace {

constexpr double kHidden = -1e30;

// A key that a row attends.
struct Attended {
  double score = 0;
  double magnitude = 0;  // scale * sum |q_d k_d|
  const double* value = nullptr;
};

// One row of one head.
class RowSolver {
 public:
  RowSolver(const AttentionProblem& p, std::int64_t batch, std::int64_t head, std::int64_t row)
      : p_(p),
        batch_(batch),
        head_(head),
        row_(row),
        kv_(batch * p.kv_heads + head / (p.heads / p.kv_heads)),
        query_(&p.q[((batch * p.heads + head) * p.rows + row) * p.key_dim]) {}

  void Solve(double* out, double& lse, double& bound, double& lse_bound) {
    FindAttended();
    double largest = p_.sinks.empty() ? -std::numeric_limits<double>::infinity() : p_.sinks[head_];
    for (const Attended& key : attended_) largest = std::max(largest, key.score);
    std::fill_n(out, p_.value_dim, 0.0);
    lse = largest;
    bound = lse_bound = 0;
    if (largest == -std::numeric_limits<double>::infinity()) return;
    double sum = p_.sinks.empty() ? 0.0 : std::exp(p_.sinks[head_] - largest);
    for (const Attended& key : attended_) sum += std::exp(key.score - largest);
    double magnitude = 0;
    double largest_value = 0;
    for (const Attended& key : attended_) {
      const double weight = std::exp(key.score - largest) / sum;
      magnitude = std::max(magnitude, key.magnitude);
      for (std::int64_t d = 0; d < p_.value_dim; ++d) {
        out[d] += weight * key.value[d];
        largest_value = std::max(largest_value, std::abs(key.value[d]));
      }
    }
    lse = largest + std::log(sum);
    bound = 8 * 0x1p-24 * (1 + magnitude) * largest_value;
    lse_bound = 8 * 0x1p-24 * (1 + magnitude + std::abs(lse));
  }

 private:
  void FindAttended() {
    const std::int64_t position = p_.keys - p_.rows + row_;
    for (std::int64_t j = 0; j < p_.keys; ++j) {
      if (p_.mask && !p_.mask(head_, row_, j)) continue;
      const double bias = p_.bias ? p_.bias(batch_, head_, row_, j) : 0;
      if (bias <= kHidden) continue;
      Attended key = Scored(&p_.k[(kv_ * p_.keys + j) * p_.key_dim]);
      if (!p_.slopes.empty()) {
        key.score -= p_.slopes[head_] * std::abs(static_cast<double>(position - j));
      }
      key.score += bias;
      key.value = &p_.v[(kv_ * p_.keys + j) * p_.value_dim];
      attended_.push_back(key);
    }
    for (std::int64_t j = 0; j < p_.extra_keys; ++j) {
      Attended key = Scored(&p_.extra_k[(kv_ * p_.extra_keys + j) * p_.key_dim]);
      key.value = &p_.extra_v[(kv_ * p_.extra_keys + j) * p_.value_dim];
      attended_.push_back(key);
    }
  }

  Attended Scored(const double* key) const {
    double dot = 0;
    double magnitude = 0;
    for (std::int64_t d = 0; d < p_.key_dim; ++d) {
      dot += query_[d] * key[d];
      magnitude += std::abs(query_[d] * key[d]);
    }
    double score = p_.scale * dot;
    if (p_.soft_cap > 0) score = p_.soft_cap * std::tanh(score / p_.soft_cap);
    return {score, std::abs(p_.scale) * magnitude};
  }

  const AttentionProblem& p_;
  std::int64_t batch_, head_, row_, kv_;
  const double* query_;
  std::vector<Attended> attended_;
};

}  // namespace

AttentionAnswer SolveAttention(const AttentionProblem& p) {
  const std::int64_t all_rows = p.batches * p.heads * p.rows;
  AttentionAnswer answer;
  answer.out.resize(all_rows * p.value_dim);
  answer.lse.resize(all_rows);
  answer.bound.resize(all_rows);
  answer.lse_bound.resize(all_rows);
  for (std::int64_t i = 0; i < all_rows; ++i) {
    RowSolver solver(p, i / p.rows / p.heads, i / p.rows % p.heads, i % p.rows);
    solver.Solve(answer.out.data() + i * p.value_dim, answer.lse[i], answer.bound[i],
                 answer.lse_bound[i]);
  }
  return answer;
}

}  // namespace foveate::reference
