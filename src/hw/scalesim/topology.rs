//! A topology: the layers of a network as SCALE-Sim's CSV has them, convolutions or matrix products.
//!
//! It has no field for padding: map sizes are those of padded maps. A layer with `DP` in its name is
//! depthwise and stands for one layer per channel. A comma ends every row; we do without as well.

use super::ScalesimError;
use crate::hw::timing::work::Gemm;
use std::path::Path;

/// More layers than any network has; depthwise rows stand for as many as they have channels.
const MOST_LAYERS: usize = 100_000;
/// A size beyond this is no layer.
const LARGEST: u64 = 1 << 30;

/// One layer, depthwise ones expanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    pub name: String,
    pub ifmap: [u64; 2],
    pub filter: [u64; 2],
    pub channels: u64,
    pub filters: u64,
    pub stride: u64,
}

impl Layer {
    /// The matrix product that it is; sizes are rounded up as SCALE-Sim does.
    pub fn gemm(&self) -> Gemm {
        let out = |i: usize| (self.ifmap[i] - self.filter[i]).div_ceil(self.stride) + 1;
        Gemm {
            m: out(0).saturating_mul(out(1)),
            n: self.filters,
            k: self.filter[0].saturating_mul(self.filter[1]).saturating_mul(self.channels),
            groups: 1,
        }
    }
}

/// The layers of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    pub name: String,
    pub layers: Vec<Layer>,
}

impl Topology {
    pub fn open(path: &Path) -> Result<Self, ScalesimError> {
        let name = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        Self::parse(&super::read(path)?, name, &path.display().to_string())
    }

    /// Reads a text; `file` is what errors call it.
    pub fn parse(text: &str, name: String, file: &str) -> Result<Self, ScalesimError> {
        let mut lines = text.trim_start_matches('\u{feff}').lines().enumerate();
        let header = lines.next().map_or("", |(_, header)| header);
        let is_gemm = header.split(',').nth(1).is_some_and(|cell| cell.trim().eq_ignore_ascii_case("m"));
        let mut layers = Vec::new();
        for (index, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
            let row = Row { file, line: index + 1, cells: cells(line) };
            if is_gemm {
                layers.push(row.gemm()?)
            } else {
                row.convolution(&mut layers)?
            }
            if layers.len() > MOST_LAYERS {
                return Err(row.wrong(format!("more than {MOST_LAYERS} layers up to here"), "split the topology"));
            }
        }
        if layers.is_empty() {
            let wrong = "there is no layer".to_string();
            let right = "a header and then rows of: name, map height and width, filter height and width, channels, filters, stride";
            return Err(ScalesimError::Row { file: file.into(), line: 1, wrong, right: right.into() });
        }
        Ok(Self { name, layers })
    }
}

fn cells(line: &str) -> Vec<&str> {
    let mut cells: Vec<&str> = line.split(',').map(str::trim).collect();
    if cells.last().is_some_and(|last| last.is_empty()) {
        cells.pop();
    }
    cells
}

/// A row with its place.
struct Row<'a> {
    file: &'a str,
    line: usize,
    cells: Vec<&'a str>,
}

impl Row<'_> {
    fn wrong(&self, wrong: String, right: &str) -> ScalesimError {
        ScalesimError::Row { file: self.file.into(), line: self.line, wrong, right: right.into() }
    }

    /// The numbers after the name; a sparsity of 1:1 may follow them.
    fn numbers<const N: usize>(&self, names: [&str; N]) -> Result<[u64; N], ScalesimError> {
        let given = self.cells.len() - 1;
        if given < N || given > N + 1 {
            let right = format!("{N} of them: {}", names.join(", "));
            return Err(self.wrong(format!("{given} values after the name"), &right));
        }
        if let Some(sparsity) = self.cells.get(N + 1).filter(|cell| **cell != "1:1") {
            return Err(self.wrong(format!("sparsity '{sparsity}'"), "only dense layers (1:1) are modelled"));
        }
        let mut numbers = [0; N];
        for (i, (number, name)) in numbers.iter_mut().zip(names).enumerate() {
            let cell = self.cells[i + 1];
            let read = cell.parse().ok().filter(|n| (1..=LARGEST).contains(n));
            *number = read
                .ok_or_else(|| self.wrong(format!("{name} is '{cell}'"), &format!("a whole number, 1 to {LARGEST}")))?;
        }
        Ok(numbers)
    }

    fn gemm(&self) -> Result<Layer, ScalesimError> {
        let [m, n, k] = self.numbers(["M", "N", "K"])?;
        let name = self.cells[0].to_string();
        Ok(Layer { name, ifmap: [m, k], filter: [1, k], channels: 1, filters: n, stride: 1 })
    }

    fn convolution(&self, layers: &mut Vec<Layer>) -> Result<(), ScalesimError> {
        let names =
            ["IFMAP height", "IFMAP width", "filter height", "filter width", "channels", "num filter", "strides"];
        let [h, w, kh, kw, channels, filters, stride] = self.numbers(names)?;
        if kh > h || kw > w {
            let right = "the map counts with its padding and is at least as large as the filter";
            return Err(self.wrong(format!("a filter of {kh}x{kw} on a map of {h}x{w}"), right));
        }
        let name = self.cells[0];
        let layer = Layer { name: name.into(), ifmap: [h, w], filter: [kh, kw], channels, filters, stride };
        if !name.contains("DP") {
            layers.push(layer);
            return Ok(());
        }
        if channels as usize > MOST_LAYERS {
            return Err(self.wrong(format!("a depthwise layer of {channels} channels"), "at most 100000"));
        }
        let channel = |i| Layer { name: format!("{name}Channel_{i}"), channels: 1, ..layer.clone() };
        layers.extend((0..channels).map(channel));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(rows: &str) -> Result<Topology, ScalesimError> {
        Topology::parse(&format!("Layer name, IFMAP Height, rest,\n{rows}"), "t".into(), "t.csv")
    }

    #[test]
    fn rows_become_layers() {
        let t = parse("conv,38,38,7,7,3,64,2,\n\n fc ,1,1,1,1,512,10,1\ndwDP,10,10,3,3,4,1,1,1:1,").unwrap();
        let sizes: Vec<_> = t.layers.iter().map(|l| l.gemm()).map(|g| (g.m, g.n, g.k)).collect();
        assert_eq!(sizes[..2], [(17 * 17, 64, 147), (1, 10, 512)]);
        assert_eq!(sizes[2..], [(64, 1, 9); 4]);
        assert_eq!((t.layers[1].name.as_str(), t.layers[5].name.as_str()), ("fc", "dwDPChannel_3"));
        let gemm = Topology::parse("Layer, M, N, K,\na,3,4,5,", "t".into(), "t.csv").unwrap();
        assert_eq!(gemm.layers[0].gemm(), Gemm { m: 3, n: 4, k: 5, groups: 1 });
    }

    #[test]
    fn a_wrong_row_says_where_and_what_would_be_right() {
        for (row, part) in [
            ("conv,8,8,3,3,3,64,", "t.csv:2: 6 values after the name; 7 of them: IFMAP height"),
            ("conv,8,8,3,3,x,64,1,", "channels is 'x'; a whole number"),
            ("conv,8,8,3,3,0,64,1,", "channels is '0'"),
            ("conv,8,8,3,3,-1,64,1,", "channels is '-1'"),
            ("conv,2,8,3,3,3,64,1,", "a filter of 3x3 on a map of 2x8; the map counts with its padding"),
            ("conv,8,8,3,3,3,64,1,2:4,", "sparsity '2:4'"),
            ("dDP,8,8,3,3,1000000,1,1,", "1000000 channels"),
            ("", "there is no layer"),
        ] {
            let error = parse(row).unwrap_err().to_string();
            assert!(error.contains(part), "{row}: {error}");
        }
    }
}
