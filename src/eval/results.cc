#include "eval/results.h"

#include <fmt/format.h>

#include <cstring>

#include "base/throw.h"
#include "runtime/sha256.h"

namespace foveate {
namespace {

constexpr int kApplicationId = 0x466f7665;  // "Fove"
constexpr int kVersion = 1;

constexpr const char* kSchema[] = {
    R"(CREATE TABLE model (id INTEGER PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL UNIQUE))",
    R"(CREATE TABLE setting (id INTEGER PRIMARY KEY, model INTEGER NOT NULL REFERENCES model,
       attention TEXT NOT NULL, name TEXT NOT NULL, options TEXT NOT NULL,
       decoding INTEGER NOT NULL, UNIQUE (model, attention, options, decoding)))",
    R"(CREATE TABLE run (id INTEGER PRIMARY KEY, started TEXT NOT NULL, ended TEXT, version TEXT,
       cpu TEXT, isa TEXT, threads INTEGER, arguments TEXT))",
    R"(CREATE TABLE question (id INTEGER PRIMARY KEY, task TEXT NOT NULL, context INTEGER NOT NULL,
       number INTEGER NOT NULL, depth REAL NOT NULL, key TEXT NOT NULL, sha256 TEXT NOT NULL,
       UNIQUE (task, context, sha256)))",
    R"(CREATE TABLE result (setting INTEGER NOT NULL REFERENCES setting,
       question INTEGER NOT NULL REFERENCES question, run INTEGER NOT NULL REFERENCES run,
       nll BLOB, divergence REAL, agreement REAL, answer TEXT, correct INTEGER,
       seconds REAL, attention_seconds REAL, selection_seconds REAL, density REAL,
       PRIMARY KEY (setting, question)) WITHOUT ROWID)"};

std::span<const std::byte> BytesOf(std::span<const float> values) { return std::as_bytes(values); }

std::vector<float> FloatsOf(std::span<const std::byte> bytes) {
  std::vector<float> values(bytes.size() / sizeof(float));
  if (!values.empty()) std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  return values;
}

std::string HashOf(const std::vector<TokenId>& tokens) {
  Sha256 hash;
  hash.Update(std::as_bytes(std::span(tokens)));
  return hash.HexDigest();
}

}  // namespace

EvalResults::EvalResults(const std::string& path) : database_(path) {
  const auto number = [&](const char* pragma) {
    Query query = database_.Ask(pragma);
    return query.Next() ? query.Integer(0) : 0;
  };
  const bool empty = number("SELECT count(*) FROM sqlite_master") == 0;
  if (!empty) {
    if (number("PRAGMA application_id") != kApplicationId) {
      Throw(ErrorCode::kCorruptFile, "{}: a database, but not of evaluations", path);
    }
    if (const std::int64_t version = number("PRAGMA user_version"); version != kVersion) {
      Throw(ErrorCode::kUnsupported, "{}: results of version {}, expected {}", path, version,
            kVersion);
    }
    Query check = database_.Ask("PRAGMA quick_check(1)");
    if (!check.Next() || check.Text(0) != "ok") {
      Throw(ErrorCode::kCorruptFile, "{}: damaged: {}", path, check.Text(0));
    }
  }
  database_.Run("PRAGMA foreign_keys = ON");
  if (!empty) return;
  Transaction transaction(database_);
  for (const char* table : kSchema) database_.Run(table);
  database_.Run(fmt::format("PRAGMA application_id = {}", kApplicationId).c_str());
  database_.Run(fmt::format("PRAGMA user_version = {}", kVersion).c_str());
  transaction.Commit();
}

std::int64_t EvalResults::Setting(const EvalModelId& model, const AttentionSpec& attention,
                                  const std::string& options, bool decoding) {
  const std::string text = ToText(attention), name = ToText(attention, SpecDetail::kShort);
  database_.Run("INSERT OR IGNORE INTO model (name, sha256) VALUES (?, ?)", model.name,
                model.sha256);
  database_.Run(
      "INSERT OR IGNORE INTO setting (model, attention, name, options, decoding) "
      "SELECT id, ?, ?, ?, ? FROM model WHERE sha256 = ?",
      text, name, options, decoding, model.sha256);
  Query found = database_.Ask(
      "SELECT setting.id FROM setting JOIN model ON model.id = setting.model "
      "WHERE sha256 = ? AND attention = ? AND options = ? AND decoding = ?",
      model.sha256, text, options, decoding);
  found.Next();
  return found.Integer(0);
}

std::int64_t EvalResults::Case(const EvalCase& question) {
  const std::string hash = HashOf(question.tokens);
  const std::string task(EvalTaskName(question.task));
  database_.Run(
      "INSERT OR IGNORE INTO question (task, context, number, depth, key, sha256) "
      "VALUES (?, ?, ?, ?, ?, ?)",
      task, question.context, question.number, question.depth, question.key, hash);
  Query found =
      database_.Ask("SELECT id FROM question WHERE task = ? AND context = ? AND sha256 = ?", task,
                    question.context, hash);
  found.Next();
  return found.Integer(0);
}

void EvalResults::Begin(const EvalRun& run) {
  database_.Run(
      "INSERT INTO run (started, version, cpu, isa, threads, arguments) "
      "VALUES (datetime('now'), ?, ?, ?, ?, ?)",
      run.version, run.cpu, run.isa, run.threads, run.arguments);
  run_ = database_.last_id();
}

void EvalResults::End() {
  database_.Run("UPDATE run SET ended = datetime('now') WHERE id = ?", run_);
}

bool EvalResults::Has(std::int64_t setting, std::int64_t question) const {
  return database_.Ask("SELECT 1 FROM result WHERE setting = ? AND question = ?", setting, question)
      .Next();
}

void EvalResults::Put(std::int64_t question, const std::map<std::int64_t, EvalOutcome>& outcomes) {
  Transaction transaction(database_);
  for (const auto& [setting, outcome] : outcomes) {
    database_.Run("INSERT OR REPLACE INTO result VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                  setting, question, run_, BytesOf(outcome.nll), outcome.divergence,
                  outcome.agreement, outcome.answer, outcome.correct, outcome.seconds,
                  outcome.attention_seconds, outcome.selection_seconds, outcome.density);
  }
  transaction.Commit();
}

std::vector<std::string> EvalResults::Machines() const {
  Query row = database_.Ask(
      "SELECT cpu, isa, threads, version FROM run WHERE id IN (SELECT run FROM result) "
      "GROUP BY cpu, isa, threads, version ORDER BY min(id)");
  std::vector<std::string> machines;
  while (row.Next()) {
    machines.push_back(fmt::format("{}, {}, {} threads, foveate {}", row.Text(0), row.Text(1),
                                   row.Integer(2), row.Text(3)));
  }
  return machines;
}

std::vector<StoredResult> EvalResults::All() const {
  Query row = database_.Ask(
      "SELECT setting.id, model.name, setting.name, options, decoding, task, context, number, "
      "depth, "
      "key, question.id, nll, divergence, agreement, answer, correct, seconds, attention_seconds, "
      "selection_seconds, density FROM result "
      "JOIN setting ON setting.id = result.setting JOIN model ON model.id = setting.model "
      "JOIN question ON question.id = result.question "
      "ORDER BY model.id, setting.id, task, context, number");
  std::vector<StoredResult> all;
  while (row.Next()) {
    all.push_back(
        {.setting = {row.Integer(0), row.Text(1), row.Text(2), row.Text(3), row.Integer(4) != 0},
         .question_id = row.Integer(10),
         .question = {.task = ParseEvalTask(row.Text(5)),
                      .context = row.Integer(6),
                      .number = row.Integer(7),
                      .depth = row.Real(8),
                      .key = row.Text(9)},
         .outcome = {.nll = FloatsOf(row.Blob(11)),
                     .divergence = row.Real(12),
                     .agreement = row.Real(13),
                     .answer = row.Text(14),
                     .correct = row.Integer(15) != 0,
                     .seconds = row.Real(16),
                     .attention_seconds = row.Real(17),
                     .selection_seconds = row.Real(18),
                     .density = row.Real(19)}});
  }
  return all;
}

}  // namespace foveate
