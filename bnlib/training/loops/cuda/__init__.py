"""The CUDA C++ of `kernels`: what all kernels share, and the source of each by name.

Tensors are in memory as PyTorch's channels last has them, (B, rows, columns, channels), but for what the second pooling gives.
"""

from bnlib.training.loops.cuda.convolutions import CONVOLVE, CONVOLVE_GRADIENT, FIRST, FIRST_GRADIENT
from bnlib.training.loops.cuda.folding import FOLD, FOLD_GRADIENT
from bnlib.training.loops.cuda.pooling import POOL, POOL_GRADIENT

# Images are of 28 x 28 pixels, seen through windows of 3 x 3 with a margin of zeros; a window has its nine pixels and a 1.
COMMON = """
#define SIDE 28
#define MARGINED 30
#define WINDOW 10
#define FIRST 32     // channels of the first convolution
#define SECOND 64    // and of the second
#define POOLED 14    // pixels a side after the first pooling
#define CELLS 196    // POOLED * POOLED
#define CELLS_2 49   // pixels after the second pooling
#define BELOW 4      // beside a place in a pooling window, 0 to 3: its maximum is not above zero
typedef unsigned char byte;

__device__ void with_margin(const float* image, float* padded) {
  for (int i = threadIdx.x; i < MARGINED * MARGINED; i += blockDim.x) {
    int row = i / MARGINED - 1, column = i % MARGINED - 1;
    bool inside = row >= 0 && row < SIDE && column >= 0 && column < SIDE;
    padded[i] = inside ? image[row * SIDE + column] : 0.f;
  }
}
// As PyTorch's max-pooling does: the first of equals, and what is no number wins.
__device__ void larger(float value, int place, float* best, int* at) {
  if (place == 0 || value > *best || value != value) { *best = value; *at = place; }
}
__device__ float activated(float x) { return x > 0 || x != x ? x : SLOPE * x; }
__device__ float passed_on(float gradient, byte from) { return from & BELOW ? SLOPE * gradient : gradient; }
"""

SOURCES = {
    "first": FIRST,
    "first_gradient": FIRST_GRADIENT,
    "convolve": CONVOLVE,
    "convolve_gradient": CONVOLVE_GRADIENT,
    "pool": POOL,
    "pool_gradient": POOL_GRADIENT,
    "fold": FOLD,
    "fold_gradient": FOLD_GRADIENT,
}
