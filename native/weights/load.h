// From safetensors files into a weight store.
#pragma once

#include <atomic>

#include "core/thread_pool.h"
#include "weights/sources.h"
#include "weights/store.h"

namespace asdm {

// Fills the store. Each weight that the graph asks for exactly once among the sources, with the shape asked for (trailing ones
// aside: a 1x1 convolution's weight may be handed as a matrix). Tensors are read in pieces, so that beside the store only a few
// megabytes are held. Fails with TensorMissing, TensorExtra, TensorShape, TensorDtype, FileNotFound, FileRead, OutOfMemory or
// Aborted, and then leaves the store empty. pool: the host's threads, which read; queue: of the store's device. NaN and infinity are no failure; result->nonFinite names their tensors.
// cache: path of the packed cache (packed_cache.h), which is used, or written; or empty. What is wrong with it fails no load.
Status loadWeights(const Graph& graph, const KernelTable& table, const std::vector<WeightSource>& sources, ThreadPool& pool, Queue& queue,
                   const std::atomic<bool>& cancel, const std::string& cache, const LoadProgress& progress, WeightStore* store,
                   LoadResult* result);

// Reads some weights of a full store anew, which nothing may be reading meanwhile; sources as above, of those weights alone. After a failure or
// abort they are as they were before, for which a copy of them is kept.
Status changeWeights(const Graph& graph, const KernelTable& table, const std::vector<WeightSource>& sources, ThreadPool& pool, Queue& queue,
                     const std::atomic<bool>& cancel, WeightStore* store, LoadResult* result);

}  // namespace asdm
