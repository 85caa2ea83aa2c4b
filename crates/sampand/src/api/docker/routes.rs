//! The table of endpoints.

use super::router::{Handler, Route};
use super::{containers, execs, images, networks, system, volumes};
use http::Method;

macro_rules! table {
    ($($method:ident $pattern:literal => $($path:ident)::+;)*) => {
        vec![$(Route {
            method: Method::$method,
            pattern: $pattern,
            handler: (|call| Box::pin($($path)::+(call))) as Handler,
        }),*]
    };
}

/// Every endpoint that is served. The first that matches answers.
pub fn table() -> Vec<Route> {
    table! {
        GET "/_ping" => system::ping;
        GET "/version" => system::version;
        GET "/info" => system::info;
        GET "/events" => system::events;
        GET "/system/df" => system::df;
        POST "/auth" => system::auth;

        GET "/containers/json" => containers::list;
        POST "/containers/create" => containers::create;
        POST "/containers/prune" => containers::prune;
        GET "/containers/{id}/json" => containers::inspect;
        GET "/containers/{id}/top" => containers::top;
        GET "/containers/{id}/logs" => containers::logs;
        GET "/containers/{id}/changes" => containers::changes;
        GET "/containers/{id}/export" => containers::export;
        GET "/containers/{id}/stats" => containers::stats;
        POST "/containers/{id}/resize" => containers::resize;
        POST "/containers/{id}/start" => containers::start;
        POST "/containers/{id}/stop" => containers::stop;
        POST "/containers/{id}/restart" => containers::restart;
        POST "/containers/{id}/kill" => containers::kill;
        POST "/containers/{id}/update" => containers::update;
        POST "/containers/{id}/rename" => containers::rename;
        POST "/containers/{id}/pause" => containers::pause;
        POST "/containers/{id}/unpause" => containers::unpause;
        POST "/containers/{id}/attach" => containers::attach;
        POST "/containers/{id}/wait" => containers::wait;
        DELETE "/containers/{id}" => containers::remove;
        HEAD "/containers/{id}/archive" => containers::archive_stat;
        GET "/containers/{id}/archive" => containers::archive_get;
        PUT "/containers/{id}/archive" => containers::archive_put;

        POST "/containers/{id}/exec" => execs::create;
        POST "/exec/{id}/start" => execs::start;
        POST "/exec/{id}/resize" => execs::resize;
        GET "/exec/{id}/json" => execs::inspect;

        GET "/images/json" => images::list;
        POST "/images/create" => images::create;
        POST "/images/load" => images::load;
        POST "/images/prune" => images::prune;
        GET "/images/get" => images::save;
        GET "/images/{name*}/get" => images::save;
        GET "/images/{name*}/json" => images::inspect;
        GET "/images/{name*}/history" => images::history;
        POST "/images/{name*}/push" => images::push;
        POST "/images/{name*}/tag" => images::tag;
        DELETE "/images/{name*}" => images::remove;

        GET "/volumes" => volumes::list;
        POST "/volumes/create" => volumes::create;
        POST "/volumes/prune" => volumes::prune;
        GET "/volumes/{name}" => volumes::inspect;
        DELETE "/volumes/{name}" => volumes::remove;

        GET "/networks" => networks::list;
        POST "/networks/create" => networks::create;
        POST "/networks/prune" => networks::prune;
        GET "/networks/{id}" => networks::inspect;
        DELETE "/networks/{id}" => networks::remove;
        POST "/networks/{id}/connect" => networks::connect;
        POST "/networks/{id}/disconnect" => networks::disconnect;
    }
}
