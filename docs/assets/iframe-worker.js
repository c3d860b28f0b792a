// A browser starts no worker for a page that it opens as a file. There, the worker of the search runs in a hidden frame.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const script = String(url).replaceAll("&", "&amp;").replaceAll('"', "&quot;");
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      this.frame.srcdoc =
        "<script>self.receive = self.postMessage.bind(self); self.postMessage = (data) => parent.postMessage(data, '*');" +
        "self.importScripts = (...urls) => { for (const url of urls) {" +
        "const element = document.createElement('script'); element.src = url; element.async = false;" +
        "document.head.append(element); } };</script>" +
        `<script src="${script}"></script>`;
      this.ready = new Promise((resolve) => this.frame.addEventListener("load", resolve, { once: true }));
      window.addEventListener("message", (event) => {
        if (event.source !== this.frame.contentWindow) return;
        // Not for the page's own listeners, which do not know this frame.
        event.stopImmediatePropagation();
        this.dispatchEvent(new MessageEvent("message", { data: event.data }));
      });
      document.body.append(this.frame);
    }

    postMessage(data) {
      this.ready.then(() => this.frame.contentWindow.receive(data, "*"));
    }

    terminate() {
      this.frame.remove();
    }
  };
}
