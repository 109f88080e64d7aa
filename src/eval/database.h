// SQLite with lifetimes and errors of C++.
//
//   Database db("results.db");
//   db.Run("INSERT INTO word VALUES (?, ?)", "door", 4);
//   for (Query rows = db.Ask("SELECT letters FROM word WHERE name = ?", "door"); rows.Next();)
//     Use(rows.Integer(0));
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

struct sqlite3;
struct sqlite3_stmt;

namespace foveate {

class Query {
 public:
  // The next row; false: there is none.
  bool Next();

  // Columns of the row, from 0 on.
  std::int64_t Integer(int column) const;
  double Real(int column) const;
  std::string Text(int column) const;
  std::span<const std::byte> Blob(int column) const;  // until Next

 private:
  friend class Database;
  struct Finish {
    void operator()(sqlite3_stmt* statement) const;
  };

  Query(const class Database& database, sqlite3_stmt* statement)
      : database_(&database), statement_(statement) {}
  void Bind(int index, std::int64_t value);
  void Bind(int index, int value) { Bind(index, std::int64_t{value}); }
  void Bind(int index, bool value) { Bind(index, std::int64_t{value}); }
  void Bind(int index, double value);
  void Bind(int index, std::string_view value);
  void Bind(int index, std::span<const std::byte> value);

  const Database* database_;
  std::unique_ptr<sqlite3_stmt, Finish> statement_;
};

// All functions throw Error naming the file: kCorruptFile for what is no database or a damaged one,
// kIo else.
class Database {
 public:
  // Opens a file, or makes it. Another process that writes is waited for, ten seconds at most.
  explicit Database(const std::string& path);

  const std::string& path() const { return path_; }

  // `sql` with its question marks replaced by the values.
  template <typename... Values>
  Query Ask(const char* sql, const Values&... values) const {
    Query query = Prepare(sql);
    int index = 0;
    (query.Bind(++index, values), ...);
    return query;
  }
  template <typename... Values>
  void Run(const char* sql, const Values&... values) const {
    Ask(sql, values...).Next();
  }

  std::int64_t last_id() const;

  [[noreturn]] void Fail() const;

 private:
  struct Close {
    void operator()(sqlite3* handle) const;
  };

  Query Prepare(const char* sql) const;

  std::string path_;
  std::unique_ptr<sqlite3, Close> handle_;
};

// All or nothing: what is written in its lifetime is undone unless Commit is reached.
class Transaction {
 public:
  explicit Transaction(const Database& database) : database_(database) {
    database_.Run("BEGIN IMMEDIATE");
  }
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  void Commit();

 private:
  const Database& database_;
  bool open_ = true;
};

}  // namespace foveate
