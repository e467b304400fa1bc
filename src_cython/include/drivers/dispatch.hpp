// One engine for each instruction set that was compiled; which of them run is asked of the processor.
#pragma once

namespace masksolve {

struct Job;
struct Outcome;

// GCC compiles parts of a file for another instruction set; other compilers build the baseline alone.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define MASKSOLVE_WIDE 1
#else
#define MASKSOLVE_WIDE 0
#endif

struct Engine {
    const char* name;
    bool (*runs_here)();
    // Whole tiles and groups, computed in float32 or float64.
    void (*solve_in_single)(const Job&, Outcome&);
    void (*solve_in_double)(const Job&, Outcome&);
    // Any tiles, given a ready-made mask.
    void (*fill_in_single)(const Job&, Outcome&);
    void (*fill_in_double)(const Job&, Outcome&);
};

extern const Engine engines[];
extern const int engine_count;

// Solves the tiles of a job, by the engine of this number or, if no kernel takes them, by min-cost flow.
void solve_tiles(int engine, const Job& job, Outcome& outcome);

// Gives the tiles of a job a ready-made mask, with the bound that prices of 0 prove; see
// heuristics/circulant.hpp.
void fill_tiles(int engine, Job job, Outcome& outcome);

}  // namespace masksolve
