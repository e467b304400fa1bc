// Everything that the engines of all instruction sets share, compiled once for any processor.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "arrays/scan.hpp"
#include "arrays/strips.hpp"
#include "certificate/ledger.hpp"
#include "certificate/tile_proof.hpp"
#include "drivers/general_tiles.hpp"
