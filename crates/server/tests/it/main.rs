//! Tests of the whole program, over its public surface.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails, in its helpers as well"
)]

mod assistant_attacks;
mod assistant_restart;
mod assistant_sockets;
mod assistant_world;
mod attacks_apis;
mod attacks_auth;
mod attacks_browser;
mod attacks_files;
mod attacks_fuzz;
mod attacks_http;
mod attacks_repeats;
mod attacks_routes;
mod attacks_secrets;
mod attacks_socket;
mod attacks_start;
mod backup;
mod campaign_crash_points;
mod campaign_disk;
mod campaign_drain;
mod campaign_effects;
mod campaign_engine;
mod campaign_hub;
mod campaign_hub_crowd;
mod campaign_hub_race;
mod campaign_hub_stage;
mod campaign_kill;
mod campaign_nodes;
mod campaign_positions;
mod campaign_power;
mod campaign_puppet;
mod campaign_races;
mod campaign_resume;
mod campaign_soak;
mod campaign_stall;
mod campaign_submit;
mod campaign_support;
mod checker;
mod disk;
mod floors;
mod golden;
mod harness;
mod harness_etiquette;
mod harness_http;
mod harness_luck;
mod harness_mutation;
mod harness_process;
mod harness_sse;
mod harness_upstream;
mod harness_ws;
mod hub_files;
mod hub_gaps;
mod hub_matrix;
mod hub_matrix_sockets;
mod hub_peer;
mod hub_roles;
mod hub_routes;
mod hub_team;
mod hub_world;
mod ledger;
mod nodes_cluster;
mod nodes_pair;
mod nodes_town;
#[path = "../../../store/tests/it/postgres_server.rs"]
mod postgres_server;
mod preload;
mod proxy;
mod rules;
mod rules_nodes;
mod rules_turns;
mod serve_commands;
mod serve_connections;
mod serve_kit;
mod serve_stopping;
mod serve_web;
mod settings;
mod upstream;
mod wall_clock;
