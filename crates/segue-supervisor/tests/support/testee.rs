fn main() {
    segue_supervisor::main_hook();
}
