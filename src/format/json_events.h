// Strict reading of JSON (RFC 8259) from files, event by event, without a tree. Internal to the
// room.
//
// Model directories are read through this and not through a general JSON library because a header
// may have 100 MB, which has to take less than two seconds; because duplicate keys must be seen;
// and because nesting must be bounded. Nothing recurses, nothing is copied but the current string.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace foveate {

// A reader derives from this and gets keys, strings and non-negative integers; everything else
// (other numbers, booleans, null) arrives as the name of what was found.
class JsonEvents {
 public:
  virtual ~JsonEvents() = default;

  // Reads `text`, one JSON value with white space around it. Throws Error(kCorruptFile) that begins
  // with `where` and names the position; what the handlers throw passes through.
  void Read(std::span<const std::byte> text, const std::string& where);

 protected:
  // Depth of the innermost open object or array: 1 inside the outermost one.
  int depth() const { return depth_; }

  virtual void OnOpen(bool object) = 0;  // after depth() has grown
  virtual void OnClose() = 0;            // before depth() shrinks
  virtual void OnKey(std::string& key) = 0;
  virtual void OnString(std::string& value) = 0;
  virtual void OnUnsigned(std::uint64_t value) = 0;
  virtual void OnOther(const char* what) = 0;  // "null", "a negative number", ...

 private:
  class Scanner;

  void ReadKey(Scanner& in);
  void ReadScalar(Scanner& in);

  int depth_ = 0;
};

}  // namespace foveate
