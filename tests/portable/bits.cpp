// Prints what the engine answers on fixed random problems, bit for bit: two processors that agree print the
// same.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <vector>

#include "arrays/job.hpp"
#include "drivers/dispatch.hpp"

namespace {

using masksolve::Dtype;
using masksolve::Strided;

struct Generator {  // xorshift64*
    std::uint64_t state = 0x9e3779b97f4a7c15u;
    std::uint64_t next() {
        state ^= state >> 12, state ^= state << 25, state ^= state >> 27;
        return state * 0x2545f4914f6cdd1du;
    }
    double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }
};

// Tiles of an array of 2 tile rows, the last axis of the grid running along it.
Strided tiles(void* data, std::ptrdiff_t entry, int height, int width, int across) {
    Strided array;
    const std::ptrdiff_t row = entry * width * across;
    const std::ptrdiff_t shape[] = {2, across, height, width},
                         strides[] = {row * height, entry * width, row, entry};
    array.data = static_cast<char*>(data);
    array.ndim = 4;
    std::copy(shape, shape + 4, array.shape);
    std::copy(strides, strides + 4, array.strides);
    return array;
}

Strided prices(void* data, std::ptrdiff_t entry, int length, int across) {
    Strided array;
    const std::ptrdiff_t shape[] = {2, across, length},
                         strides[] = {entry * length * across, entry * length, entry};
    array.data = static_cast<char*>(data);
    array.ndim = 3;
    std::copy(shape, shape + 3, array.shape);
    std::copy(strides, strides + 3, array.strides);
    return array;
}

std::uint64_t hash(const void* data, std::size_t bytes, std::uint64_t seed = 0xcbf29ce484222325u) {  // FNV-1a
    const auto* byte = static_cast<const unsigned char*>(data);
    for (std::size_t k = 0; k < bytes; ++k) seed = (seed ^ byte[k]) * 0x100000001b3u;
    return seed;
}

template <typename T>
void run(int engine, Generator& random, int n, int m, int height, bool at_most, int kind) {
    const int across = m < 24 ? 37 : 3;
    const bool transposable = height > 1;
    std::vector<T> scores(2 * across * height * m), rows(2 * across * height), columns(2 * across * m);
    std::vector<char> mask(scores.size());
    for (T& score : scores) {
        const double u = random.uniform() - 0.5;
        score = static_cast<T>(kind == 0   ? u
                               : kind == 1 ? static_cast<int>(u * 8)
                               : kind == 2 ? 1 / (u * u * u + 1e-9)
                               : u < -0.2  ? -1e20
                                           : u);
    }
    masksolve::Job job;
    job.scores = tiles(scores.data(), sizeof(T), height, m, across);
    job.mask = tiles(mask.data(), 1, height, m, across);
    job.rows = prices(rows.data(), sizeof(T), height, across);
    if (transposable) job.columns = prices(columns.data(), sizeof(T), m, across);
    job.dtype = sizeof(T) == 4 ? Dtype::f32 : Dtype::f64;
    job.height = height;
    job.width = m;
    job.row_least = at_most ? 0 : n;
    job.row_most = n;
    job.column_least = transposable ? job.row_least : 0;
    job.column_most = transposable ? n : 1;
    job.largest = 0x1p96;
    job.last = 2 * across;
    masksolve::Outcome outcome;
    masksolve::solve_tiles(engine, job, outcome);
    std::uint64_t seen = hash(mask.data(), mask.size());
    seen = hash(rows.data(), rows.size() * sizeof(T), seen);
    seen = hash(columns.data(), columns.size() * sizeof(T), seen);
    std::printf("%2d:%-2d %d %d %d %zu  %d %016llx %a %a\n", n, m, height, at_most, kind, sizeof(T),
                static_cast<int>(outcome.status), static_cast<unsigned long long>(seen), outcome.objective,
                outcome.bound);
}

}  // namespace

int main(int count, char** arguments) {
    const char* wanted = count > 1 ? arguments[1] : "baseline";
    for (int k = 0; k < masksolve::engine_count; ++k) {
        const masksolve::Engine& engine = masksolve::engines[k];
        if (std::strcmp(engine.name, wanted) != 0) continue;
        if (!engine.runs_here()) return std::fprintf(stderr, "%s does not run here\n", wanted), 2;
        Generator random;
        for (int m : {2, 3, 4, 5, 8, 12, 16, 24, 32, 48, 64})
            for (int n : {1, (m + 1) / 2, m - 1})
                for (int height : {1, m})
                    for (int at_most : {0, 1})
                        for (int kind : {0, 1, 2, 3}) {
                            run<float>(k, random, n, m, height, at_most, kind);
                            run<double>(k, random, n, m, height, at_most, kind);
                        }
        return 0;
    }
    return std::fprintf(stderr, "no engine %s\n", wanted), 2;
}
