#include "foveate/error.h"

namespace foveate {

const char* ErrorCodeName(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument: return "invalid_argument";
    case ErrorCode::kUnsupported: return "unsupported";
    case ErrorCode::kNotFound: return "not_found";
    case ErrorCode::kCorruptFile: return "corrupt_file";
    case ErrorCode::kIo: return "io_error";
    case ErrorCode::kLimit: return "limit";
    case ErrorCode::kBadRequest: return "bad_request";
    case ErrorCode::kNumerical: return "numerical_error";
    case ErrorCode::kCancelled: return "cancelled";
  }
  return "unknown";
}

}  // namespace foveate
