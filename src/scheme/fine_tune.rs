//! Fine-tuning: every node runs and trains on the adapter device; only the image crosses.

use super::Scheme;

pub const SCHEME: Scheme = Scheme {
    name: "fine-tune",
    about: "the whole network on the adapter device, all of it trained",
    paper: "a baseline of all papers",
    crosses: "the image out",
    options: &[],
    default_sites: None,
    trains_norm: true,
    counted_only: None,
    apply: |placing, _| {
        for id in placing.graph.node_ids() {
            placing.move_and_train(id);
        }
        Ok(())
    },
};
