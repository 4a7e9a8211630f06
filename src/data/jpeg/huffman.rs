//! Huffman tables, and the bits of a scan.

const OUT_OF_DATA: &str = "ends in the middle of its scan";

/// A canonical Huffman code: for every length, the first code and where its symbols begin.
pub struct Table {
    /// Per length 1 to 16: first code, number of codes, index of the first symbol.
    lengths: [(u32, u32, usize); 16],
    symbols: Vec<u8>,
}

impl Table {
    /// Reads a table at the start of `body`; also says how many bytes it takes.
    pub fn read(body: &[u8]) -> Result<(Self, usize), String> {
        let counts: &[u8; 16] = body.first_chunk().ok_or("has a damaged Huffman table")?;
        let total: usize = counts.iter().map(|&n| usize::from(n)).sum();
        let symbols = body.get(16..16 + total).ok_or("has a damaged Huffman table")?.to_vec();
        let mut lengths = [(0, 0, 0); 16];
        let (mut code, mut symbol) = (0u32, 0);
        for (length, &count) in counts.iter().enumerate() {
            let count = u32::from(count);
            if code + count > 1 << (length + 1) {
                return Err("has a Huffman table with more codes than there are".into());
            }
            lengths[length] = (code, count, symbol);
            code = (code + count) << 1;
            symbol += count as usize;
        }
        Ok((Self { lengths, symbols }, 16 + total))
    }
}

/// The entropy-coded bytes behind a scan header, most significant bit first.
pub struct BitReader<'a> {
    data: &'a [u8],
    position: usize,
    bits: u32,
    count: u32,
}

impl<'a> BitReader<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        Self { data, position: 0, bits: 0, count: 0 }
    }

    fn bit(&mut self) -> Result<u32, String> {
        if self.count == 0 {
            let &byte = self.data.get(self.position).ok_or(OUT_OF_DATA)?;
            self.position += 1;
            if byte == 0xff {
                // A coded 0xff is followed by 0; anything else is a marker, where the data end.
                if self.data.get(self.position) != Some(&0) {
                    return Err(OUT_OF_DATA.into());
                }
                self.position += 1;
            }
            (self.bits, self.count) = (u32::from(byte), 8);
        }
        self.count -= 1;
        Ok(self.bits >> self.count & 1)
    }

    /// The next symbol of `table`.
    pub fn symbol(&mut self, table: &Table) -> Result<u8, String> {
        let mut code = 0;
        for (first, count, symbol) in table.lengths {
            code = code << 1 | self.bit()?;
            if code.wrapping_sub(first) < count {
                return Ok(table.symbols[symbol + (code - first) as usize]);
            }
        }
        Err("has a code in its scan that is in no table".into())
    }

    /// A signed value of `bits` bits, at most 16: the upper half of the range is itself, the lower is negative.
    pub fn value(&mut self, bits: u8) -> Result<i32, String> {
        let mut value = 0;
        for _ in 0..bits {
            value = value << 1 | self.bit()? as i32;
        }
        let half = 1 << bits >> 1;
        Ok(if value < half { value - (1 << bits) + 1 } else { value })
    }

    /// Skips to behind the next restart marker.
    pub fn restart(&mut self) -> Result<(), String> {
        self.count = 0;
        match self.data.get(self.position..self.position + 2) {
            Some(&[0xff, 0xd0..=0xd7]) => {
                self.position += 2;
                Ok(())
            }
            _ => Err("lacks a restart marker in its scan".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Codes 00 → 5, 01 → 6, 100 → 7.
    fn table() -> Table {
        let mut body = [0; 19];
        (body[1], body[2]) = (2, 1);
        body[16..].copy_from_slice(&[5, 6, 7]);
        let (table, used) = Table::read(&body).unwrap();
        assert_eq!(used, 19);
        table
    }

    #[test]
    fn symbols_and_values_come_bit_by_bit() {
        let table = table();
        // 01 | 100 | 101 | stuffed ff: 1111 1111 | 00
        let mut bits = BitReader::new(&[0b0110_0101, 0xff, 0, 0b0000_0000]);
        assert_eq!([bits.symbol(&table).unwrap(), bits.symbol(&table).unwrap()], [6, 7]);
        assert_eq!([bits.value(3).unwrap(), bits.value(8).unwrap(), bits.value(2).unwrap()], [5, 255, -3]);
        assert_eq!(bits.value(0).unwrap(), 0);
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        assert!(BitReader::new(&[0xff, 0xd9]).value(1).is_err());
        assert!(BitReader::new(&[0xff, 0, 0xff, 0]).symbol(&table()).unwrap_err().contains("in no table"));
        let mut crowded = [0; 19];
        crowded[0] = 3;
        assert!(Table::read(&crowded).is_err());
        assert!(Table::read(&[0; 15]).is_err());
    }
}
