//! A matrix as the product of two of small rank, the closest that there is in squared error.

use nalgebra::DMatrix;

/// Sweeps after which a decomposition that has not settled is given up; a few tens are usual.
const MOST_SWEEPS: usize = 1 << 20;

/// `β·γ`: rows × rank and rank × columns.
pub struct Factors {
    pub beta: DMatrix<f64>,
    pub gamma: DMatrix<f64>,
}

/// A matrix from its rows.
pub fn matrix(rows: usize, columns: usize, values: &[f32]) -> DMatrix<f64> {
    DMatrix::from_row_iterator(rows, columns, values.iter().map(|&v| f64::from(v)))
}

/// The values row by row.
pub fn rows(matrix: &DMatrix<f64>) -> Vec<f32> {
    matrix.row_iter().flat_map(|row| row.iter().map(|&v| v as f32).collect::<Vec<_>>()).collect()
}

/// The `rank` largest singular values: β = UΣ, γ = Vᵀ. Nothing where the values are not finite or the
/// decomposition does not settle.
pub fn truncated(matrix: &DMatrix<f64>, rank: usize) -> Option<Factors> {
    if matrix.iter().any(|v| !v.is_finite()) {
        return None;
    }
    // They come sorted, largest first.
    let svd = matrix.clone().try_svd(true, true, f64::EPSILON, MOST_SWEEPS)?;
    let (u, v) = (svd.u?, svd.v_t?);
    let mut beta = u.columns(0, rank).into_owned();
    for (mut column, &value) in beta.column_iter_mut().zip(svd.singular_values.iter()) {
        column *= value;
    }
    Some(Factors { beta, gamma: v.rows(0, rank).into_owned() })
}

/// How far `other` is from `matrix`, squared, and how large that is, squared.
pub fn squared_error(matrix: &DMatrix<f64>, other: &DMatrix<f64>) -> [f64; 2] {
    [(matrix - other).norm_squared(), matrix.norm_squared()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed;

    #[test]
    fn a_product_of_small_rank_is_found_again() {
        let draw = |rows, columns, name| matrix(rows, columns, &seed::normal(1, name, rows * columns, 1.0));
        let whole = draw(12, 3, "a") * draw(3, 9, "b");
        let found = truncated(&whole, 3).unwrap();
        let [off, of] = squared_error(&whole, &(&found.beta * &found.gamma));
        assert!(off < 1e-24 * of, "{off} of {of}");
        let less = truncated(&whole, 2).unwrap();
        let [off, of] = squared_error(&whole, &(&less.beta * &less.gamma));
        assert!(off > 1e-3 * of && off < 0.5 * of, "{off} of {of}");
    }

    /// Eckart and Young: what is left is the sum of the squares of the singular values left out.
    #[test]
    fn the_error_is_that_of_what_was_left_out() {
        let whole = matrix(2, 2, &[3.0, 0.0, 0.0, -2.0]);
        let found = truncated(&whole, 1).unwrap();
        assert!((squared_error(&whole, &(&found.beta * &found.gamma))[0] - 4.0).abs() < 1e-12);
        assert!((found.gamma.norm() - 1.0).abs() < 1e-12, "γ has unit rows, β the sizes");
        assert_eq!(rows(&matrix(2, 2, &[1.0, 2.0, 3.0, 4.0])), [1.0, 2.0, 3.0, 4.0]);
    }

    #[test]
    fn values_that_are_not_finite_have_no_factors() {
        assert!(truncated(&matrix(1, 2, &[1.0, f32::NAN]), 1).is_none());
    }
}
