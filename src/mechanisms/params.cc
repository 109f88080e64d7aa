#include "mechanisms/params.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "base/throw.h"
#include "mechanisms/mechanism.h"

namespace foveate {

Params::Params(const Mechanism& mechanism)
    : mechanism_(&mechanism), values_(mechanism.params.size()) {}

std::size_t Params::Index(std::string_view key) const {
  const std::vector<Param>& params = mechanism_->params;
  const auto found =
      std::find_if(params.begin(), params.end(), [&](const Param& p) { return p.key == key; });
  assert(found != params.end());
  return static_cast<std::size_t>(found - params.begin());
}

const ParamValue& Params::Value(std::string_view key) const { return values_[Index(key)]; }

bool Params::Has(std::string_view key) const {
  return !std::holds_alternative<std::monostate>(Value(key));
}

std::int64_t Params::Integer(std::string_view key) const {
  return std::get<std::int64_t>(Value(key));
}
double Params::Real(std::string_view key) const { return std::get<double>(Value(key)); }
bool Params::Bool(std::string_view key) const { return std::get<bool>(Value(key)); }
const std::string& Params::Word(std::string_view key) const {
  return std::get<std::string>(Value(key));
}
const IntegerList& Params::List(std::string_view key) const {
  return std::get<IntegerList>(Value(key));
}

void Params::Set(std::string_view key, ParamValue value) {
  if (Has(key)) {
    Throw(ErrorCode::kInvalidArgument, "{}: {} is given twice", mechanism_->name, key);
  }
  values_[Index(key)] = std::move(value);
}

void Params::Complete() {
  for (std::size_t i = 0; i < values_.size(); ++i) {
    if (!std::holds_alternative<std::monostate>(values_[i])) continue;
    const Param& param = mechanism_->params[i];
    if (param.fallback.empty()) {
      Throw(ErrorCode::kInvalidArgument, "{} needs {}: {} ({})", mechanism_->name, param.key,
            Expected(param), param.help);
    }
    values_[i] = ParamFromText(*mechanism_, param, param.fallback);
  }
}

}  // namespace foveate
