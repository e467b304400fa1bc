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
    void (*solve_tiles)(const Job&, Outcome&);
};

extern const Engine engines[];
extern const int engine_count;

}  // namespace masksolve
