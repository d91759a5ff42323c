// One JSON line a record through spdlog's asynchronous logger into a file: the C++ party
// of bench/file_test.go. Its queue of 8,192 records holds callers back when it is full.
//
//   spdlog_file PATH RECORDS THREADS    prints ns a record, until all are written
//
// Needs Debian's packages g++ and libspdlog-dev.
#include <spdlog/async.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/spdlog.h>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

int main(int argc, char **argv) {
  if (argc != 4) { fprintf(stderr, "usage: spdlog_file PATH RECORDS THREADS\n"); return 2; }
  const int records = atoi(argv[2]), threads = atoi(argv[3]);
  const char *suffix = getenv("SHMKIT_BENCH_SUFFIX");
  const std::string path = std::string("GET /index.html") + (suffix ? suffix : "");
  const double ms = getpid() / 3.0;
  spdlog::init_thread_pool(8192, 1);
  auto log = spdlog::basic_logger_mt<spdlog::async_factory>("bench", argv[1]);
  log->set_pattern(R"({"time":"%Y-%m-%dT%H:%M:%S.%f%z","level":"%l","msg":"request",%v})");
  auto start = std::chrono::steady_clock::now();
  std::vector<std::thread> all;
  for (int t = 0; t < threads; t++)
    all.emplace_back([&] {
      for (int i = 0; i < records / threads; i++) log->info(R"("n":{},"path":"{}","ms":{})", 42 + i, path, ms);
    });
  for (auto &t : all) t.join();
  log.reset();
  spdlog::shutdown(); // writes what is queued
  std::chrono::duration<double, std::nano> d = std::chrono::steady_clock::now() - start;
  printf("%.1f\n", d.count() / records);
  return 0;
}
