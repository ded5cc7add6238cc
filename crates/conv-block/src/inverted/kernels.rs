//! The loops over a strip.

use super::{Strip, weights::Panel};
use crate::{
    activation::{Activation, activate_kernel},
    shape::Tail,
    simd::{Simd, per_isa},
    tile::apply_tail,
};

/// Number of pixels of a tile of one vector of channels.
const PIXELS: usize = 12;

/// Number of neighboring results that the depthwise kernel computes at most.
const NEIGHBORS: usize = 8;

per_isa! {
    /// Computes a strip; `memory` is working memory of [`super::Plan::memory`] values.
    pub(super) fn run_strip(strip: &Strip<'_>, memory: &mut [f32]) = strip_kernel
}

/// Computes a strip's rows of all outputs. Channels are expanded, or inputs laid out in their
/// place, and convolved by vectors, to `[vector][pixel][channel]`; the gate and the last
/// convolution take all of them.
///
/// # Safety
/// The CPU must have the instruction set, and no other task may hold a strip of the same rows.
#[inline(always)]
unsafe fn strip_kernel<S: Simd, const NV: usize>(strip: &Strip<'_>, memory: &mut [f32]) {
    let (block, plan) = (strip.block, strip.plan);
    assert!(memory.len() == plan.memory(block));
    let (expanded, results) = memory.split_at_mut(2 * plan.expanded * S::LANES);
    let num_results = (strip.rows[1] - strip.rows[0]) * plan.result[1];
    let results = &mut results[..block.num_vectors() * num_results * S::LANES];
    let has_many_sums = S::SUMS >= 2 * PIXELS;
    // Padding, which no channel overwrites.
    expanded.fill(0.0);
    // SAFETY: the caller promises the instruction set and that the rows are this task's alone.
    unsafe {
        if let Some(expand) = &block.expand {
            for panel in &expand.panels {
                match (panel.vectors, has_many_sums) {
                    (1, _) => strip.expand::<S, 1, PIXELS>(panel, expanded),
                    (_, false) => strip.expand::<S, 2, { PIXELS / 2 }>(panel, expanded),
                    (_, true) => strip.expand::<S, 2, PIXELS>(panel, expanded),
                }
                let vectors = panel.first / S::LANES..panel.first / S::LANES + panel.vectors;
                for (at, vector) in vectors.enumerate() {
                    let expanded = &mut expanded[at * plan.expanded * S::LANES..];
                    strip.depthwise_vector::<S, NV>(vector, expanded, results);
                }
            }
        } else {
            for vector in 0..block.num_vectors() {
                strip.turn::<S>(vector, expanded);
                strip.depthwise_vector::<S, NV>(vector, expanded, results);
            }
        }
        if let Some(gate) = &block.gate {
            gate.apply::<S, NV>(results, num_results);
        }
        for panel in &block.project.panels {
            match (panel.vectors, has_many_sums) {
                (1, _) => strip.project::<S, NV, 1, PIXELS>(panel, results, num_results),
                (_, false) => {
                    strip.project::<S, NV, 2, { PIXELS / 2 }>(panel, results, num_results)
                }
                (_, true) => strip.project::<S, NV, 2, PIXELS>(panel, results, num_results),
            }
        }
    }
}

/// Strides of the values that a tile multiplies, in values.
struct Steps {
    /// From one pixel to the next.
    pixel: usize,
    /// From one channel of a block to the next, and from one block of channels to the next.
    channel: usize,
    block: usize,
    /// Blocks, and channels of each.
    blocks: usize,
    channels: usize,
}

/// Computes `sums[p] += a[p * pixel + k * channel + b * block] * weights[b, k]` over all blocks
/// `b` and their channels `k`, with a vector of outputs to each weight.
///
/// # Safety
/// The CPU must have the instruction set, and all values named above must be readable.
#[inline(always)]
unsafe fn multiply<S: Simd, const V: usize, const P: usize>(
    sums: &mut [[S::V; V]; P],
    a: *const f32,
    steps: &Steps,
    weights: *const f32,
) {
    // A local copy whose address is never taken stays in registers.
    let mut tile = *sums;
    let (mut block, mut weights) = (a, weights);
    for _ in 0..steps.blocks {
        let mut a = block;
        for _ in 0..steps.channels {
            // Otherwise the compiler loads values early, into registers that the sums need.
            a = S::hide(a);
            // SAFETY: the caller promises the instruction set and that these values can be read.
            unsafe {
                let mut vectors = [S::splat(0.0); V];
                for (v, vector) in vectors.iter_mut().enumerate() {
                    *vector = S::load(weights.add(v * S::LANES));
                }
                for (p, sums) in tile.iter_mut().enumerate() {
                    let x = S::splat(*a.add(p * steps.pixel));
                    for (sum, vector) in sums.iter_mut().zip(vectors) {
                        *sum = S::fma(x, vector, *sum);
                    }
                }
            }
            // The last step may leave the buffers; nothing is read from there.
            a = a.wrapping_add(steps.channel);
            weights = weights.wrapping_add(V * S::LANES);
        }
        block = block.wrapping_add(steps.block);
    }
    *sums = tile;
}

/// Returns where the tiles of `P` pixels begin; the last reaches back into the one before. A strip
/// of fewer pixels has tiles of one.
///
/// Loops over it are written out, as vector operations in a closure aren't inlined.
#[inline(always)]
fn tiles<const P: usize>(num_pixels: usize) -> impl Iterator<Item = usize> {
    let step = if num_pixels < P { 1 } else { P };
    let last = num_pixels.saturating_sub(step);
    (0..num_pixels)
        .step_by(step)
        .map(move |start| start.min(last))
}

impl Strip<'_> {
    /// Returns the rows of the image that the strip's windows meet, first and behind the last, and
    /// the expanded row of the first.
    #[inline(always)]
    fn input_rows(&self) -> ([usize; 2], usize) {
        let shape = &self.block.shape;
        let above = self.plan.padding[0][0];
        let start = self.rows[0] * shape.stride;
        let end = (self.rows[1] - 1) * shape.stride + shape.kernel;
        let first = start.saturating_sub(above);
        let last = end.saturating_sub(above).clamp(first, self.plan.size[0]);
        ([first, last], first + above - start)
    }

    /// Computes the expanded channels of a panel, `[vector][pixel with padding][channel]`.
    ///
    /// # Safety
    /// The CPU must have the instruction set, and the panel have `V` vectors.
    #[inline(always)]
    unsafe fn expand<S: Simd, const V: usize, const P: usize>(
        &self,
        panel: &Panel,
        expanded: &mut [f32],
    ) {
        let (inputs, [height, width]) = (self.block.shape.inputs, self.plan.size);
        let ([first, last], row) = self.input_rows();
        let places = &self.plan.places[..(last - first) * width];
        let input = &self.input[first * width..];
        let offset = row * self.plan.pitch;
        let vector_len = self.plan.expanded * S::LANES;
        assert!(panel.weights.len() >= inputs * V * S::LANES && panel.vectors == V);
        assert!(input.len() >= (inputs - 1) * height * width + places.len());
        let tile = ExpandedTile {
            strip: self,
            panel,
            input,
            places,
            offset,
            vector_len,
        };
        for start in tiles::<P>(places.len()) {
            // SAFETY: the caller promises the instruction set; pixels and weights were checked
            // above.
            unsafe {
                if places.len() < P {
                    tile.compute::<S, V, 1>(start, expanded);
                } else {
                    tile.compute::<S, V, P>(start, expanded);
                }
            }
        }
        let function = self.block.shape.activation;
        if !is_of_registers(function) {
            for v in 0..V {
                let rows =
                    offset * S::LANES..(offset + (last - first) * self.plan.pitch) * S::LANES;
                let values = &mut expanded[v * vector_len..][rows];
                // SAFETY: the caller promises the instruction set. A function of the padding is
                // zero, as all that are used here are of zero.
                unsafe { activate_kernel::<S, V>(function, values) };
            }
        }
    }

    /// Copies a vector of input channels to where expanded ones would be.
    #[inline(always)]
    fn turn<S: Simd>(&self, vector: usize, expanded: &mut [f32]) {
        let (inputs, [height, width]) = (self.block.shape.inputs, self.plan.size);
        let ([first, last], row) = self.input_rows();
        let (pitch, left) = (self.plan.pitch, self.plan.padding[1][0]);
        let channels = vector * S::LANES..inputs.min((vector + 1) * S::LANES);
        for at in 0..last - first {
            let start = ((row + at) * pitch + left) * S::LANES;
            let to = &mut expanded[start..start + width * S::LANES];
            if channels.len() < S::LANES {
                to.fill(0.0);
            }
            for (lane, channel) in channels.clone().enumerate() {
                let from = &self.input[(channel * height + first + at) * width..][..width];
                let places = to[lane..].iter_mut().step_by(S::LANES);
                places.zip(from).for_each(|(to, from)| *to = *from);
            }
        }
    }

    /// Computes the depthwise convolution of a vector of channels and its function.
    ///
    /// # Safety
    /// The CPU must have the instruction set.
    #[inline(always)]
    unsafe fn depthwise_vector<S: Simd, const NV: usize>(
        &self,
        vector: usize,
        expanded: &[f32],
        results: &mut [f32],
    ) {
        let shape = &self.block.shape;
        let columns = self.plan.result[1];
        let rows = self.rows[1] - self.rows[0];
        let results = &mut results[vector * rows * columns * S::LANES..];
        let results = &mut results[..rows * columns * S::LANES];
        let width = columns.div_ceil(columns.div_ceil(NEIGHBORS));
        for (row, results) in results.chunks_exact_mut(columns * S::LANES).enumerate() {
            let expanded = &expanded[row * shape.stride * self.plan.pitch * S::LANES..];
            // SAFETY: as promised by the caller.
            unsafe {
                match shape.stride {
                    1 => self.depthwise_row::<S, 1>(vector, width, expanded, results),
                    _ => self.depthwise_row::<S, 2>(vector, width, expanded, results),
                }
            }
        }
        if !is_of_registers(shape.activation) {
            // SAFETY: as promised by the caller.
            unsafe { activate_kernel::<S, NV>(shape.activation, results) };
        }
    }

    /// Computes a row of results, `width` neighbors at a time.
    ///
    /// # Safety
    /// The CPU must have the instruction set.
    #[inline(always)]
    unsafe fn depthwise_row<S: Simd, const STRIDE: usize>(
        &self,
        vector: usize,
        width: usize,
        expanded: &[f32],
        results: &mut [f32],
    ) {
        let columns = results.len() / S::LANES;
        for start in (0..columns).step_by(width) {
            let start = start.min(columns - width);
            let expanded = &expanded[start * STRIDE * S::LANES..];
            let results = &mut results[start * S::LANES..];
            // SAFETY: as promised by the caller.
            unsafe {
                match width {
                    1 => self.neighbors::<S, STRIDE, 1>(vector, expanded, results),
                    2 => self.neighbors::<S, STRIDE, 2>(vector, expanded, results),
                    3 => self.neighbors::<S, STRIDE, 3>(vector, expanded, results),
                    4 => self.neighbors::<S, STRIDE, 4>(vector, expanded, results),
                    5 => self.neighbors::<S, STRIDE, 5>(vector, expanded, results),
                    6 => self.neighbors::<S, STRIDE, 6>(vector, expanded, results),
                    7 => self.neighbors::<S, STRIDE, 7>(vector, expanded, results),
                    _ => self.neighbors::<S, STRIDE, NEIGHBORS>(vector, expanded, results),
                }
            }
        }
    }

    /// Computes `Q` neighboring results of a vector of channels.
    ///
    /// # Safety
    /// The CPU must have the instruction set.
    #[inline(always)]
    unsafe fn neighbors<S: Simd, const STRIDE: usize, const Q: usize>(
        &self,
        vector: usize,
        expanded: &[f32],
        results: &mut [f32],
    ) {
        let (kernel, pitch) = (self.block.shape.kernel, self.plan.pitch);
        let [weights, bias] = &self.block.depthwise;
        let weights = &weights[vector * kernel * kernel * S::LANES..][..kernel * kernel * S::LANES];
        let bias = &bias[vector * S::LANES..][..S::LANES];
        let reach = (kernel - 1) * pitch + (Q - 1) * STRIDE + kernel;
        assert!(expanded.len() >= reach * S::LANES && results.len() >= Q * S::LANES);
        // SAFETY: the caller promises the instruction set; the lengths were checked above.
        unsafe {
            let mut sums = [[S::load(bias.as_ptr())]; Q];
            for row in 0..kernel {
                for column in 0..kernel {
                    let weight = S::load(weights.as_ptr().add((row * kernel + column) * S::LANES));
                    let from = expanded.as_ptr().add((row * pitch + column) * S::LANES);
                    for (q, [sum]) in sums.iter_mut().enumerate() {
                        *sum = S::fma(weight, S::load(from.add(q * STRIDE * S::LANES)), *sum);
                    }
                }
            }
            limit::<S>(sums.as_flattened_mut(), self.block.shape.activation);
            for (q, [sum]) in sums.iter().enumerate() {
                S::store(results.as_mut_ptr().add(q * S::LANES), *sum);
            }
        }
    }

    /// Computes the outputs of a panel from the depthwise results, `[vector][pixel][channel]`.
    ///
    /// # Safety
    /// The CPU must have the instruction set, the panel have `V` vectors, and the rows be this
    /// task's alone.
    #[inline(always)]
    unsafe fn project<S: Simd, const NV: usize, const V: usize, const P: usize>(
        &self,
        panel: &Panel,
        results: &[f32],
        num_pixels: usize,
    ) {
        let vectors = self.block.num_vectors();
        assert!(results.len() == vectors * num_pixels * S::LANES && panel.vectors == V);
        assert!(panel.weights.len() == vectors * S::LANES * V * S::LANES);
        for start in tiles::<P>(num_pixels) {
            // SAFETY: as promised by the caller; the lengths were checked above.
            unsafe {
                if num_pixels < P {
                    let sums = self.projected_tile::<S, V, 1>(panel, results, num_pixels, start);
                    self.store::<S, NV, V, 1>(panel, start, &sums);
                } else {
                    let sums = self.projected_tile::<S, V, P>(panel, results, num_pixels, start);
                    self.store::<S, NV, V, P>(panel, start, &sums);
                }
            }
        }
    }

    /// Computes `P` pixels of a panel's outputs.
    ///
    /// # Safety
    /// The CPU must have the instruction set, and results and weights be readable.
    #[inline(always)]
    unsafe fn projected_tile<S: Simd, const V: usize, const P: usize>(
        &self,
        panel: &Panel,
        results: &[f32],
        num_pixels: usize,
        start: usize,
    ) -> [[S::V; V]; P] {
        let steps = Steps {
            pixel: S::LANES,
            channel: 1,
            block: num_pixels * S::LANES,
            blocks: self.block.num_vectors(),
            channels: S::LANES,
        };
        // SAFETY: as promised by the caller.
        unsafe {
            let mut sums = [bias_of::<S, V>(panel); P];
            let from = results.as_ptr().add(start * S::LANES);
            multiply::<S, V, P>(&mut sums, from, &steps, panel.weights.as_ptr());
            limit::<S>(sums.as_flattened_mut(), self.block.shape.tail);
            sums
        }
    }

    /// Stores `P` pixels of a panel's outputs from `start` on, counted from the strip's first.
    ///
    /// # Safety
    /// The CPU must have the instruction set, and the pixels be this task's alone.
    #[inline(always)]
    unsafe fn store<S: Simd, const NV: usize, const V: usize, const P: usize>(
        &self,
        panel: &Panel,
        start: usize,
        sums: &[[S::V; V]; P],
    ) {
        let shape = &self.block.shape;
        let [rows, columns] = self.plan.result;
        let mut values = [0.0f32; PIXELS * 32];
        let width = V * S::LANES;
        assert!(width <= 32 && P <= PIXELS);
        for (p, sums) in sums.iter().enumerate() {
            for (v, sum) in sums.iter().enumerate() {
                // SAFETY: the caller promises the instruction set, and there is room.
                unsafe { S::store(values.as_mut_ptr().add(p * width + v * S::LANES), *sum) };
            }
        }
        if !is_of_registers(shape.tail) {
            // SAFETY: as promised by the caller.
            unsafe { activate_kernel::<S, NV>(shape.tail, &mut values[..P * width]) };
        }
        let pixel = self.rows[0] * columns + start;
        for at in 0..panel.count {
            let place = (panel.first + at) * rows * columns + pixel;
            // SAFETY: these pixels are this task's alone.
            let out = unsafe { self.out.slice(self.out_start + place, P) };
            for (p, out) in out.iter_mut().enumerate() {
                let added = if shape.is_residual {
                    self.input[place + p]
                } else {
                    0.0
                };
                out.write(values[p * width + at] + added);
            }
        }
    }
}

/// Where the tiles of a panel's expanded channels come from and go to.
struct ExpandedTile<'a> {
    strip: &'a Strip<'a>,
    panel: &'a Panel,
    /// The input from the strip's first pixel on.
    input: &'a [f32],
    /// Where the strip's pixels lie in the expanded rows, from `offset` on.
    places: &'a [u32],
    offset: usize,
    /// Values of a vector of channels.
    vector_len: usize,
}

impl ExpandedTile<'_> {
    /// Computes `P` pixels.
    ///
    /// # Safety
    /// The CPU must have the instruction set, and pixels and weights be readable.
    #[inline(always)]
    unsafe fn compute<S: Simd, const V: usize, const P: usize>(
        &self,
        start: usize,
        expanded: &mut [f32],
    ) {
        let (shape, [height, width]) = (&self.strip.block.shape, self.strip.plan.size);
        let steps = Steps {
            pixel: 1,
            channel: height * width,
            block: 0,
            blocks: 1,
            channels: shape.inputs,
        };
        let places = &self.places[start..start + P];
        // SAFETY: as promised by the caller; stores stay in their slices.
        unsafe {
            let mut sums = [bias_of::<S, V>(self.panel); P];
            let from = self.input.as_ptr().add(start);
            multiply::<S, V, P>(&mut sums, from, &steps, self.panel.weights.as_ptr());
            limit::<S>(sums.as_flattened_mut(), shape.activation);
            for (sums, place) in sums.iter().zip(places) {
                let place = (self.offset + *place as usize) * S::LANES;
                for (v, sum) in sums.iter().enumerate() {
                    let to = &mut expanded[v * self.vector_len + place..][..S::LANES];
                    S::store(to.as_mut_ptr(), *sum);
                }
            }
        }
    }
}

/// Whether tiles apply the function before they are stored; others take a pass of their own.
#[inline(always)]
fn is_of_registers(function: Activation) -> bool {
    tail_of(function).is_some()
}

#[inline(always)]
fn tail_of(function: Activation) -> Option<Tail> {
    match function {
        Activation::Linear => Some(Tail::Linear),
        Activation::Relu => Some(Tail::Relu),
        Activation::Relu6 => Some(Tail::Relu6),
        _ => None,
    }
}

/// Applies a function to the vectors of a tile, if it is one of [`tail_of`].
///
/// # Safety
/// The CPU must have the instruction set.
#[inline(always)]
unsafe fn limit<S: Simd>(vectors: &mut [S::V], function: Activation) {
    if let Some(tail) = tail_of(function) {
        // SAFETY: as promised by the caller.
        unsafe { apply_tail::<S>(vectors, tail) };
    }
}

/// Loads a panel's bias.
///
/// # Safety
/// The CPU must have the instruction set, and the panel have `V` vectors.
#[inline(always)]
unsafe fn bias_of<S: Simd, const V: usize>(panel: &Panel) -> [S::V; V] {
    assert!(panel.bias.len() == V * S::LANES);
    // SAFETY: as promised by the caller; the length was checked above.
    unsafe {
        let mut vectors = [S::splat(0.0); V];
        for (v, vector) in vectors.iter_mut().enumerate() {
            *vector = S::load(panel.bias.as_ptr().add(v * S::LANES));
        }
        vectors
    }
}
