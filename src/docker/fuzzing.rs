//! What engines may answer, and what may be in image archives.

use std::fs::File;
use std::io::{Seek as _, Write as _};

use bollard::models::{
    ContainerInspectResponse, ContainerStatsResponse, ContainerSummary, EventMessage, ImageInspect,
    ImageSummary, Network, ProgressDetail, SystemInfo, VolumeListResponse,
};
use bollard::{ClientVersion, errors::Error};
use reconciler::model::ids::OwnerId;
use reconciler::model::observed::ObservedContainer;
use rustix::fs::{MemfdFlags, memfd_create};
use serde::de::DeserializeOwned;

use super::archive::{self, Platform};
use super::convert::{self, EngineDefaults, labels};
use super::logs::Lines;
use super::progress::Layers;
use super::{connect, error, events, images, stats};

/// The owner in the corpus.
const OWNER: &str = "0123456789abcdef0123456789abcdef";

/// Looks into a file with these bytes, for an engine with the usual platform and for another one.
pub(crate) fn archives(input: &[u8]) {
    for machine in ["x86_64", "armv7l"] {
        let mut file = File::from(memfd_create("image.tar", MemfdFlags::CLOEXEC).expect("a file"));
        file.write_all(input).and_then(|()| file.rewind()).expect("written");
        let info = SystemInfo { architecture: Some(machine.to_owned()), ..SystemInfo::default() };
        archive::fuzzing::look_at(file, &Platform::of(&info));
    }
}

/// Reads the lines of an input as answers: a word, a blank, JSON. What is said of containers is held
/// against what a list says of them.
pub(crate) fn engine(input: &[u8]) {
    let owner = OwnerId(OWNER.to_owned());
    let mut known: Option<ObservedContainer> = None;
    let mut layers = Layers::default();
    for line in input.split(|byte| *byte == b'\n') {
        let blank = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
        let (word, json) = line.split_at(blank);
        match word {
            b"inspect" => {
                for (limits_swap, private_cgroups) in [(false, false), (true, true)] {
                    let Some(answer) = read::<ContainerInspectResponse>(json) else { continue };
                    let defaults = EngineDefaults { limits_swap, private_cgroups };
                    let found = convert::observed_container(&owner, answer, defaults);
                    known = found.map(|(_, container)| container).or(known);
                }
                known.iter().for_each(stored);
            }
            b"containers" => {
                for listed in read::<Vec<ContainerSummary>>(json).unwrap_or_default() {
                    let _ = super::observe::name_of(&listed);
                    let _ = listed.labels.as_ref().map(|found| labels::identity(&owner, found));
                    let _ = known.as_ref().map(|known| convert::agrees(&listed, known));
                }
            }
            b"images" => {
                let answer = read::<Vec<ImageSummary>>(json).unwrap_or_default();
                answer.into_iter().map(convert::observed_image).for_each(drop);
            }
            b"volumes" => {
                let answer = read::<VolumeListResponse>(json).and_then(|answer| answer.volumes);
                let all = answer.unwrap_or_default().into_iter();
                all.filter_map(|volume| convert::observed_volume(&owner, volume)).for_each(drop);
            }
            b"networks" => {
                let answer = read::<Vec<Network>>(json).unwrap_or_default();
                convert::observed_networks(&owner, answer);
            }
            b"info" => {
                let Some(info) = read::<SystemInfo>(json) else { continue };
                let _ = Platform::of(&info);
                let _ = info.system_time.as_deref().and_then(convert::event_time);
                let version = ClientVersion { major_version: 1, minor_version: 41 };
                connect::engine_info(info, version);
            }
            b"image" => {
                let Some(image) = read::<ImageInspect>(json) else { continue };
                images::id_of(&image);
                images::pinned("registry.example:5000/shop/web:1.4", &image);
            }
            b"event" => {
                let Some(event) = read::<EventMessage>(json) else { continue };
                let _ = events::meant(&owner, event);
            }
            b"stats" => {
                let _ = read::<ContainerStatsResponse>(json).map(|answer| stats::read(&answer));
            }
            b"progress" => {
                let (layer, detail) = (json.get(1..2).unwrap_or_default(), json.get(2..));
                let detail = detail.and_then(read::<ProgressDetail>);
                let layer = String::from_utf8_lossy(layer);
                for status in ["Pulling fs layer", "Downloading", "Pull complete"] {
                    layers.take(&layer, status, detail.as_ref());
                }
            }
            b"said" => {
                let text = String::from_utf8_lossy(json);
                let _ = images::loaded_reference(&text).map(images::repository);
                let message = text.into_owned();
                error::driver_error(
                    "start container web",
                    &Error::DockerResponseServerError { status_code: 500, message },
                );
            }
            b"log" => {
                let mut lines = Lines::new(false);
                json.chunks(7).for_each(|piece| lines.take(piece, &|_| {}));
                lines.end(&|_| {});
            }
            _ => {}
        }
    }
}

fn read<T: DeserializeOwned>(json: &[u8]) -> Option<T> {
    serde_json::from_slice(json).ok()
}

/// What is observed goes to the store, and comes back from there.
fn stored(container: &ObservedContainer) {
    let json = serde_json::to_vec(container).expect("JSON");
    let again: ObservedContainer = serde_json::from_slice(&json).expect("as written");
    assert_eq!(again, *container, "what is stored is what was observed");
}
