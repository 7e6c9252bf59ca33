"""Lines of the pages that are not run as they stand, each with its reason. Nothing else is left out."""

#: line of a page -> why it is left out
EXEMPT = {
    "source .venv/bin/activate": "the tests run in an environment of their own",
    "make test": "it runs these tests",
    "pip install ./my_arm": "tests/docs/test_pages.py lays it down as if it were installed",
    "pip install ./aloha": "tests/docs/test_pages.py lays it down as if it were installed",
    "make audit": "it asks a database of advisories on the network",
    "lwd hub push ./successes acme/door-open": "it goes to the Hub",
    "lwd hub pull acme/door-open ./door-open": "it comes from the Hub",
    "lwd hub push-policy production acme/door-policy": "it goes to the Hub",
    "lwd hub pull-policy acme/door-policy": "it comes from the Hub",
    "lwd train run my-run.yaml --report mlflow,wandb": "trackers are installed by who uses them",
    "make docs": "tests/docs/test_site.py builds the site",
    "LWD_SERVE_TOKEN=… lwd serve --host 0.0.0.0 --tls-cert server.pem --tls-key server.key": (
        "it serves beyond this machine; tests/lwd_core/serve/test_access.py says when it may"
    ),
    "lwd serve --host 0.0.0.0 --tls-cert server.pem --tls-key server.key --client-ca robots.pem": (
        "it serves beyond this machine; tests/lwd_core/serve/test_access.py has robots with certificates"
    ),
    **dict.fromkeys(
        (
            "lwd label train success",
            "lwd label train progress",
            "lwd label train success --rule person",
            "lwd label run model.success model.progress",
        ),
        "a tiny demo has too few episodes of a task; tests/lwd_core/judges/test_commands.py runs them",
    ),
    **dict.fromkeys(
        (
            "lwd vla show ./smolvla_base --tokenizer ./tokenizer.json --position-ids exact "
            "--statistics snapshot",
            "lwd train vla-sft.yaml",
            "lwd train vla-rl.yaml",
            "lwd policy publish $(lwd run policy vla-rl) --channel canary",
            "lwd export policy --to lerobot ./back --policy canary",
        ),
        "it needs a checkpoint of a gigabyte; tests/lwd_core/training/test_vla.py and "
        "tests/lwd_core/policies/test_based.py run them on tiny ones",
    ),
    **dict.fromkeys(
        (
            'python -m lerobot_arms draft so101_follower port=/dev/ttyACM0 id=left "cameras=$CAMERAS" '
            "--name so101 --out so101.yaml",
            "lwd robot check --robot lerobot --embodiment so101.yaml --set type=so101_follower "
            '--set port=/dev/ttyACM0 --set id=left --set "cameras=$CAMERAS"',
        ),
        "it needs LeRobot and an arm; tests/examples/test_lerobot.py has one without motors",
    ),
    "lwd robot run --robot ros2_arm:Ros2Arm --set file=ur5.yaml --set command=trajectory_msgs/msg/"
    'JointTrajectory --task fold --instruction "fold the towel"': (
        "it needs ROS 2; tests/examples/test_ros2.py has its messages"
    ),
    """LWD_VLM_KEY=… lwd label ask --url https://… --model … --where "outcome = 'unknown'" --yes""": (
        "it would send pictures; tests/lwd_core/judges/test_vlm.py does, to an endpoint of its own"
    ),
}

#: beginnings of lines that start a server: it is started, looked at and ended
SERVERS = ("make ui", "lwd episode view", "lwd serve", "lwd studio")
