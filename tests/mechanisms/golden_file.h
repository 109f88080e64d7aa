// Files of expected results: tensors named CASE.NAME, and a JSON record of each case.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "format/safetensors.h"
#include "mechanisms/spec.h"

namespace foveate::testing {

class GoldenFile {
 public:
  struct Array {
    std::vector<std::int64_t> shape;
    std::vector<float> values;
  };

  explicit GoldenFile(const std::string& name)
      : file_(SafetensorsFile::Open(std::string(FOVEATE_TEST_DATA) + "/" + name + ".safetensors")) {
  }

  const StoredTensor* Find(const std::string& name) const { return file_.FindTensor(name); }

  // Of an F32 tensor.
  Array Floats(const std::string& name) const {
    const StoredTensor* tensor = file_.FindTensor(name);
    EXPECT_NE(tensor, nullptr) << name;
    if (tensor == nullptr) return {};
    Array array{tensor->shape, std::vector<float>(tensor->bytes.size() / sizeof(float))};
    std::memcpy(array.values.data(), tensor->bytes.data(), tensor->bytes.size());
    return array;
  }

  // Of an I32 tensor.
  std::vector<std::int32_t> Integers(const std::string& name) const {
    const StoredTensor* tensor = file_.FindTensor(name);
    EXPECT_NE(tensor, nullptr) << name;
    if (tensor == nullptr) return {};
    std::vector<std::int32_t> values(tensor->bytes.size() / sizeof(std::int32_t));
    std::memcpy(values.data(), tensor->bytes.data(), tensor->bytes.size());
    return values;
  }

  nlohmann::json Record(const std::string& name) const {
    return nlohmann::json::parse(file_.metadata().at(name));
  }

  // The records that have an "N", by the name of their case.
  std::map<std::string, nlohmann::json> Cases() const {
    std::map<std::string, nlohmann::json> cases;
    for (const auto& [name, text] : file_.metadata()) {
      const auto record = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
      if (record.is_object() && record.contains("N")) cases[name] = record;
    }
    return cases;
  }

  // What of a record is the spec: all but the sizes of the call and what was counted.
  static nlohmann::json SpecOf(const nlohmann::json& record) {
    static const std::vector<std::string> kOther = {"N", "M",     "H",          "Hkv",
                                                    "D", "pairs", "empty_rows", "attended_pairs"};
    nlohmann::json spec;
    for (const auto& [key, value] : record.items()) {
      if (std::find(kOther.begin(), kOther.end(), key) == kOther.end()) spec[key] = value;
    }
    return spec;
  }

 private:
  SafetensorsFile file_;
};

}  // namespace foveate::testing
