"""Kernels of batch norm where it is folded into the first convolution, and of its gradient."""

FOLD = """
// Batch norm folded into the first convolution; `kept` is for the gradient: moments of the batch (10, 10), mean (32),
// 1 / standard deviation (32).
extern "C" __global__ void fold(
    const float* matrix, const float* gamma, const float* beta, const double* moments, const long long* rows, int batch,
    float* running_mean, float* running_variance, float* folded, double* kept) {
  __shared__ double m[WINDOW * WINDOW];
  int t = threadIdx.x;
  if (t < WINDOW * WINDOW) {
    double sum = 0;
    #pragma unroll 10
    for (int b = 0; b < batch; b++) sum += moments[rows[b] * WINDOW * WINDOW + t];
    m[t] = kept[t] = sum / batch;
  }
  __syncthreads();
  if (t >= FIRST) return;
  double w[WINDOW], mean = 0, square = 0;
  #pragma unroll
  for (int i = 0; i < WINDOW; i++) w[i] = matrix[t * WINDOW + i];
  #pragma unroll
  for (int i = 0; i < WINDOW; i++) {
    mean += m[9 * WINDOW + i] * w[i];
    double product = 0;
    #pragma unroll
    for (int j = 0; j < WINDOW; j++) product += m[i * WINDOW + j] * w[j];
    square += product * w[i];
  }
  double variance = square - mean * mean, inverse = 1 / sqrt(variance + EPSILON), scale = gamma[t] * inverse;
  #pragma unroll
  for (int i = 0; i < WINDOW; i++) folded[t * WINDOW + i] = w[i] * scale + (i == 9 ? beta[t] - mean * scale : 0);
  double count = (double)batch * SIDE * SIDE;
  running_mean[t] += MOMENTUM * (mean - running_mean[t]);
  running_variance[t] += MOMENTUM * (variance * count / (count - 1) - running_variance[t]);
  kept[WINDOW * WINDOW + t] = mean;
  kept[WINDOW * WINDOW + FIRST + t] = inverse;
}"""

FOLD_GRADIENT = """
// Its gradient. A thread has a channel.
extern "C" __global__ void fold_gradient(
    const float* matrix, const float* gamma, const double* kept, const float* gradient, float* of_matrix, float* of_gamma,
    float* of_beta) {
  __shared__ double m[WINDOW * WINDOW];
  int t = threadIdx.x;
  if (t < WINDOW * WINDOW) m[t] = kept[t];
  __syncthreads();
  if (t >= FIRST) return;
  double mean = kept[WINDOW * WINDOW + t], inverse = kept[WINDOW * WINDOW + FIRST + t];
  double w[WINDOW], d[WINDOW], of_scale = 0;
  #pragma unroll
  for (int i = 0; i < WINDOW; i++) {
    w[i] = matrix[t * WINDOW + i];
    d[i] = gradient[t * WINDOW + i];
    of_scale += d[i] * w[i];
  }
  double scale = gamma[t] * inverse;
  of_scale -= d[9] * mean;
  double of_variance = -0.5 * of_scale * gamma[t] * inverse * inverse * inverse;
  double of_mean = -d[9] * scale - 2 * mean * of_variance;
  #pragma unroll
  for (int i = 0; i < WINDOW; i++) {
    double product = 0;
    #pragma unroll
    for (int j = 0; j < WINDOW; j++) product += m[i * WINDOW + j] * w[j];
    of_matrix[t * WINDOW + i] = d[i] * scale + 2 * of_variance * product + of_mean * m[9 * WINDOW + i];
  }
  of_gamma[t] = of_scale * inverse;
  of_beta[t] = d[9];
}"""
