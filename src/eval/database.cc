#include "eval/database.h"

#include <sqlite3.h>

#include "base/throw.h"

namespace foveate {

void Query::Finish::operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }

bool Query::Next() {
  const int result = sqlite3_step(statement_.get());
  if (result != SQLITE_ROW && result != SQLITE_DONE) database_->Fail();
  return result == SQLITE_ROW;
}

std::int64_t Query::Integer(int column) const {
  return sqlite3_column_int64(statement_.get(), column);
}
double Query::Real(int column) const { return sqlite3_column_double(statement_.get(), column); }
std::string Query::Text(int column) const {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement_.get(), column));
  return text == nullptr ? "" : text;
}
std::span<const std::byte> Query::Blob(int column) const {
  const auto* data = static_cast<const std::byte*>(sqlite3_column_blob(statement_.get(), column));
  return {data, static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column))};
}

void Query::Bind(int index, std::int64_t value) {
  sqlite3_bind_int64(statement_.get(), index, value);
}
void Query::Bind(int index, double value) { sqlite3_bind_double(statement_.get(), index, value); }
void Query::Bind(int index, std::string_view value) {
  sqlite3_bind_text64(statement_.get(), index, value.data(), value.size(), SQLITE_TRANSIENT,
                      SQLITE_UTF8);
}
void Query::Bind(int index, std::span<const std::byte> value) {
  sqlite3_bind_blob64(statement_.get(), index, value.data(), value.size(), SQLITE_TRANSIENT);
}

void Database::Close::operator()(sqlite3* handle) const { sqlite3_close(handle); }

Database::Database(const std::string& path) : path_(path) {
  sqlite3* handle = nullptr;
  const int result = sqlite3_open(path.c_str(), &handle);
  handle_.reset(handle);
  if (result != SQLITE_OK) Fail();
  sqlite3_busy_timeout(handle, 10'000);
}

std::int64_t Database::last_id() const { return sqlite3_last_insert_rowid(handle_.get()); }

void Database::Fail() const {
  const int code = sqlite3_errcode(handle_.get());
  const bool damaged = code == SQLITE_CORRUPT || code == SQLITE_NOTADB;
  Throw(damaged ? ErrorCode::kCorruptFile : ErrorCode::kIo, "{}: {}", path_,
        sqlite3_errmsg(handle_.get()));
}

Query Database::Prepare(const char* sql) const {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v2(handle_.get(), sql, -1, &statement, nullptr) != SQLITE_OK) Fail();
  return {*this, statement};
}

Transaction::~Transaction() {
  if (!open_) return;
  try {
    database_.Run("ROLLBACK");
  } catch (const Error&) {  // it was undone with the failure that ended it
  }
}

void Transaction::Commit() {
  database_.Run("COMMIT");
  open_ = false;
}

}  // namespace foveate
